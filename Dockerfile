# The two commands of README in a container:
#   docker build -t tom . && docker run --rm -v "$PWD/reports:/tom/reports" -v "$PWD/runs:/tom/runs" tom
# Debian's Python is 3.11; --target tools stops before the project is copied, as .devcontainer does.
FROM debian:bookworm-slim AS tools
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git libosmesa6 make python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*

FROM tools
WORKDIR /tom
COPY . .
RUN make setup
CMD ["make", "repro"]
