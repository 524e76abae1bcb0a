"""What loops are made of: vectors of the processor, exact functions of one number, addresses, tiles of rows."""
