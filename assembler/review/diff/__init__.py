"""Two sides of a manifest → what differs, each finding with a grade and a sentence.

The rooms in the order to read them: change, scalars, knowledge, options; matching, order; sql, schedule;
side, entries, sections, comparison; git, imports, pairs; text.
"""
