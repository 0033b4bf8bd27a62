package watch

import (
	"crypto/sha256"
	"io"
	"os"
	"syscall"
	"time"
)

// Files are files that are watched. The zero value watches none. It is not safe for concurrent use.
type Files struct {
	// MaxBytes is how much of each file is compared; 0 means 16 MiB.
	MaxBytes int64

	known map[string]state
	// moving is set if the last look found a difference from the one before.
	moving bool
	// told is the content at the last reported change.
	told map[string]sum
}

type sum = [sha256.Size]byte

// state is the result of a look at one file.
type state struct {
	// info is nil if there is no such file.
	info os.FileInfo
	// read is when the content was read.
	read time.Time
	sum  sum
}

// still reports whether the metadata of a file proves that its content is unchanged.
func (s *state) still(info os.FileInfo) bool {
	return s.info != nil && os.SameFile(s.info, info) && s.info.Size() == info.Size() &&
		s.info.ModTime().Equal(info.ModTime()) && s.read.Sub(info.ModTime()) > coarse
}

// coarse is how coarse the times of a file system may be: a file that was read so soon after it was written may
// have been written again since, with the same time.
const coarse = 3 * time.Second

// Changed looks at the files. It reports whether their content differs from that at the last report, and is the
// same in two looks in a row. The first look only stores the content. Files that cannot be read count as empty.
// now is the time of the look.
func (f *Files) Changed(now time.Time, paths ...string) bool {
	first := f.known == nil
	next := make(map[string]state, len(paths))
	moved := len(paths) != len(f.known)
	for _, path := range paths {
		before, known := f.known[path]
		s := f.look(path, before, now)
		next[path] = s
		moved = moved || !known || s.sum != before.sum
	}
	f.known = next
	if first {
		f.tell()
		return false
	}
	if moved {
		f.moving = true
		return false
	}
	if !f.moving {
		return false
	}
	f.moving = false
	if f.same() {
		return false // it changed back
	}
	f.tell()
	return true
}

// look reads a file if its content may have changed.
func (f *Files) look(path string, before state, now time.Time) state {
	// Opening a pipe in place of the file must not block.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return state{}
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil || !info.Mode().IsRegular():
		return state{}
	case before.still(info):
		return before
	}
	most := f.MaxBytes
	if most == 0 {
		most = 16 << 20
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(file, most)); err != nil {
		return state{}
	}
	s := state{info: info, read: now}
	h.Sum(s.sum[:0])
	return s
}

func (f *Files) same() bool {
	if len(f.told) != len(f.known) {
		return false
	}
	for path, s := range f.known {
		if told, ok := f.told[path]; !ok || told != s.sum {
			return false
		}
	}
	return true
}

func (f *Files) tell() {
	f.told = make(map[string]sum, len(f.known))
	for path, s := range f.known {
		f.told[path] = s.sum
	}
}
