# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Hardening in one pass: the node as it is, what is wanted of it, and the way back.

One file for each type of resource; `rescue` is the way back and stands alone.
"""
