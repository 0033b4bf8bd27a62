package memory

// ring is a queue that is indexed from its oldest item. It grows by doubling and shrinks when it is nearly
// empty, so that a burst does not hold memory for ever. The zero value is an empty ring.
type ring[T any] struct {
	buf  []T // length is zero or a power of two
	head int
	n    int
}

const ringMin = 4

func (r *ring[T]) len() int { return r.n }

// at returns the i-th oldest item, 0 <= i < len.
func (r *ring[T]) at(i int) T { return r.buf[(r.head+i)&(len(r.buf)-1)] }

func (r *ring[T]) push(v T) {
	if r.n == len(r.buf) {
		r.resize(max(ringMin, 2*len(r.buf)))
	}
	r.buf[(r.head+r.n)&(len(r.buf)-1)] = v
	r.n++
}

// pop removes the oldest item of a ring that is not empty.
func (r *ring[T]) pop() T {
	v := r.buf[r.head]
	var zero T
	r.buf[r.head] = zero
	r.head = (r.head + 1) & (len(r.buf) - 1)
	r.n--
	if len(r.buf) > ringMin && r.n <= len(r.buf)/8 {
		r.resize(max(ringMin, len(r.buf)/4))
	}
	return v
}

func (r *ring[T]) resize(size int) {
	buf := make([]T, size)
	for i := range r.n {
		buf[i] = r.at(i)
	}
	r.buf, r.head = buf, 0
}
