"""The digitised figures of the paper (Ma et al., 2023), as they are compared with ours."""

SPELLED = {"walker": "walker2d"}  # an environment of the digitised Figure 4 under our name
PUBLISHED_WARMUP_ENV_STEPS = 5_000  # the paper's clock starts after the random steps, ours counts them
