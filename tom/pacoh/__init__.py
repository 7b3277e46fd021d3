"""PACOH-RL (Bhardwaj et al., 2024): a prior over networks, learned on many tasks, adapted to new ones, planned with.

particles, bnn      particles that move to a density, and Gaussians over weights; networks of such weights
meta, adapt         from many tasks to priors; from a prior and a task's rows to a posterior
control             optimistic plans in what the particles believe
arms, pooled        what is compared: priors, learned or not, and one model of all tasks
rows                episodes, and how well a model knows a task
bench, experiment   the whole: what pieces stand on, and the pieces in order
"""
