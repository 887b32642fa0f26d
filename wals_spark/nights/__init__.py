"""Nights of a model that is retrained: its data judged, its candidate gated, versions kept, what happened in words."""
