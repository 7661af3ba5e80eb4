"""Workers of `assembler serve` and their parent, in the order to read them: process, retirement, supervisor."""
