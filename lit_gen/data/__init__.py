"""Data modules: whole splits in memory, handed out as ``protocols.Batch``."""

from lit_gen.data.array_file import ArrayFile
from lit_gen.data.base import InMemoryData
from lit_gen.data.celeba import CelebA
from lit_gen.data.cifar10 import CIFAR10
from lit_gen.data.digits import Digits
from lit_gen.data.docstrings import Docstrings
from lit_gen.data.documents import TextFolder
from lit_gen.data.frames import ImageFrames
from lit_gen.data.frey_faces import FreyFaces
from lit_gen.data.image_folder import ImageFolder
from lit_gen.data.images import ImageData
from lit_gen.data.lfw import LFW
from lit_gen.data.mnist import MNIST, FashionMNIST
from lit_gen.data.newsgroups import Newsgroups
from lit_gen.data.olivetti import FaceCuts, Olivetti
from lit_gen.data.pushforward import Identity, InverseNormalCDF, Pushforward, Square
from lit_gen.data.rcv1 import RCV1
from lit_gen.data.shapes import Shapes
from lit_gen.data.stacked_mnist import StackedMNIST
from lit_gen.data.toy import Dice, GaussianMixture, Grid, PointMasses, Ring, TwoMoons

__all__ = [
    "CIFAR10",
    "LFW",
    "MNIST",
    "RCV1",
    "ArrayFile",
    "CelebA",
    "Dice",
    "Digits",
    "Docstrings",
    "FaceCuts",
    "FashionMNIST",
    "FreyFaces",
    "GaussianMixture",
    "Grid",
    "Identity",
    "ImageData",
    "ImageFolder",
    "ImageFrames",
    "InMemoryData",
    "InverseNormalCDF",
    "Newsgroups",
    "Olivetti",
    "PointMasses",
    "Pushforward",
    "Ring",
    "Shapes",
    "Square",
    "StackedMNIST",
    "TextFolder",
    "TwoMoons",
]
