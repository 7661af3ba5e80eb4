"""An existing application → a manifest, with what it could and could not take over.

In: `module:app`. Out: what was recorded while the application was composed, the manifest that says the
same, and a report in which every recorded call stands. All code of the application runs in a process
of its own, without a network and without children.
"""
