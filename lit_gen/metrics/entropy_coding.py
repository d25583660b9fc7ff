"""Rounded codes as bytes, no longer than they need to be, and back.

The bytes are a raw deflate stream (RFC 1951, https://www.rfc-editor.org/rfc/rfc1951), which any inflate reads: Huffman
coding with tables of its own for each block. The coder is the standard library's.
"""

import zlib
from collections.abc import Iterator

import numpy as np

_RAW = -15  # no zlib header, no checksum


def pack(indices: np.ndarray, bits: int) -> bytes:
    """(N, Z) integers from 0 to 2^bits - 1, bits at most 16 -> bytes.

    Each coordinate's N numbers lie together (above 8 bits as their high bytes, then their low ones). Of three streams
    the shortest is taken: Huffman codes with one table for all, Huffman codes with a table for each coordinate, and
    with repetitions replaced (LZ77).
    """
    return min(_streams(_planes(indices, bits)), key=len)


def unpack(data: bytes, num_coordinates: int, bits: int) -> np.ndarray:
    """What was packed, (N, Z) int64."""
    planes = np.frombuffer(zlib.decompress(data, wbits=_RAW), dtype=np.uint8)
    planes = planes.reshape(num_coordinates, _bytes_each(bits), -1).astype(np.int64)
    return (planes[:, 0] if bits <= 8 else planes[:, 0] * 256 + planes[:, 1]).T


def _bytes_each(bits: int) -> int:
    return 1 if bits <= 8 else 2


def _planes(indices: np.ndarray, bits: int) -> list[bytes]:
    """One string of bytes for each coordinate."""
    columns = indices.T
    parts = [columns] if bits <= 8 else [columns // 256, columns % 256]
    stacked = np.stack(parts, axis=1).astype(np.uint8)  # (Z, 1 or 2, N)
    return [plane.tobytes() for plane in stacked]


def _streams(planes: list[bytes]) -> Iterator[bytes]:
    for strategy, end_of_plane in (
        (zlib.Z_HUFFMAN_ONLY, zlib.Z_NO_FLUSH),
        (zlib.Z_HUFFMAN_ONLY, zlib.Z_BLOCK),
        (zlib.Z_DEFAULT_STRATEGY, zlib.Z_NO_FLUSH),
    ):
        coder = zlib.compressobj(9, zlib.DEFLATED, _RAW, 9, strategy)
        yield b"".join(coder.compress(plane) + coder.flush(end_of_plane) for plane in planes) + coder.flush()
