"""Triton kernels and their launchers, installed as ``ites_fast.kernels``. They know torch and triton alone.

A module is named after the operator whose formula is in ``ites_fast.reference``. Its launchers take contiguous tensors
on a CUDA device, or on the CPU under Triton's interpreter; which of them runs is decided in ``ites_fast.ops``.
"""
