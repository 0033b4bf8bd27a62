package redis

// Table is filled in below.
type Table struct{}

func (t *Table) lost(int) {}
