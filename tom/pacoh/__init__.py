"""PACOH-RL (Bhardwaj et al., 2024): a prior over networks, learned on many tasks, adapted to new ones, planned with.

svgd, prior, bnn    particles that move to a density; Gaussians over weights; networks whose weights are particles
meta, adapt         from many tasks to priors; from a prior and a task's rows to a posterior
control             optimistic plans in what the particles believe
arms, pooled        what is compared: priors, learned or not, and one model of all tasks
episodes, measure   rows of a task; how well a model knows it
bench, experiment   the whole: what pieces stand on, and the pieces in order
"""
