"""Repairs: problems of plugins, and actions for operators; see ``registry.repairs()``."""

from plugreg.repairs._values import Repair, RepairAction
from plugreg.repairs.codes import CODES, RepairCode

__all__ = ["CODES", "Repair", "RepairAction", "RepairCode"]
