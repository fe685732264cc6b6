"""Auto-allocated topologies: what a project gets that asks for a network and says nothing else."""
