"""Classifiers."""

from lit_gen.models.classifiers.classifier import Classifier
