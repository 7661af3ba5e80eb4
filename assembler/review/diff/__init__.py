"""Two sides of a manifest → what differs, each finding with a grade and a sentence.

The rooms in the order to read them: change, defaults, secrecy, scalars, lists, known, knowledge,
pairing, options, side; matching, roles, orders, ordering; sql, statements, schedule; entries,
presence, sections, comparison; git, pairs; text.
"""
