"""Trainings in a row, where later stages build on the models of earlier ones. Every stage is an ordinary run."""
