"""The federation of chapter 16 on SuperLink and SuperNodes: folders, faults, how far it goes, containers."""
