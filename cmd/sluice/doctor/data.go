package doctor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Data describes the directory of the embedded log.
type Data struct {
	// Path is the configured path. Looked is the directory that was examined: Path or its nearest existing
	// parent.
	Path, Looked string
	Err          error
	Writable     bool
	// Free and Whole are sizes of the file system in bytes. FileSystem is its kind if that is known to be
	// unsuitable.
	Free, Whole int64
	FileSystem  string
	// Sync is the median time for writing 4 KiB to the disk; 0 if it is unknown.
	Sync time.Duration
	// Used is the size of the existing files in bytes.
	Used int64
	// Wanted is how many bytes the apps may keep, and Most the limit of the server.
	Wanted, Most int64
	// Always is set if each event waits for the disk.
	Always bool
}

// ReadData examines a directory. It creates at most an unnamed file, which disappears when it is closed.
func ReadData(path string) Data {
	d := Data{Path: path}
	abs, err := filepath.Abs(path)
	if err != nil {
		d.Err = err
		return d
	}
	d.Looked = abs
	for {
		info, err := os.Stat(d.Looked)
		if err == nil && !info.IsDir() {
			d.Err = &fs.PathError{Op: "open", Path: d.Looked, Err: errors.New("it is no directory")}
			return d
		}
		if err == nil || !errors.Is(err, fs.ErrNotExist) || d.Looked == filepath.Dir(d.Looked) {
			d.Err = err
			break
		}
		d.Looked = filepath.Dir(d.Looked)
	}
	if d.Err == nil {
		d.fill()
	}
	if d.Looked != abs {
		return d
	}
	_ = filepath.WalkDir(abs, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // files come and go while a server runs
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			d.Used += info.Size()
		}
		return nil
	})
	return d
}

// The bounds for Sync.
const (
	slowSync   = 20 * time.Millisecond
	slowAlways = 5 * time.Millisecond
)

// JudgeData judges the directory of the embedded log.
func JudgeData(d Data) []Finding {
	f := &findings{area: "data"}
	if d.Err != nil {
		f.fail("directory", "Check nats.embedded.store_dir and the rights of the directories above it.", "%s: %v", d.Path, d.Err)
		return f.all
	}
	switch {
	case !d.Writable && d.Path != d.Looked:
		f.fail("directory", "Make it for the user of the server.", "%s is not there, and may not be made in %s", d.Path, d.Looked)
	case !d.Writable:
		f.fail("directory", "chown it to the user of the server.", "%s may not be written by this user", d.Path)
	default:
		f.fine("directory", "%s may be written, %s are used", d.Path, bytesOf(d.Used))
	}
	switch d.FileSystem {
	case "tmpfs":
		f.warn("file system", "Use a disk, or say adapter.driver: local.", "it is memory (tmpfs): the end of the machine loses everything, and it counts as memory of a container")
	case "nfs", "cifs", "smb":
		f.warn("file system", "Use a disk of this machine.", "it is on the network (%s): locks and synchronising are not what the log needs", d.FileSystem)
	case "overlayfs":
		f.warn("file system", "Mount a volume there.", "it is the layer of a container (overlayfs): it is gone with the container")
	}
	if d.Whole > 0 {
		judgeSpace(f, d)
	}
	switch {
	case d.Sync == 0:
	case d.Always && d.Sync > slowAlways:
		f.warn("synchronising", "Use a faster disk, or durability: process.", "it takes %v to have 4 KiB on the disk, and with durability: machine each event waits for that", d.Sync.Round(10*time.Microsecond))
	case d.Sync > slowSync:
		f.warn("synchronising", "Use a faster disk.", "it takes %v to have 4 KiB on the disk", d.Sync.Round(10*time.Microsecond))
	default:
		f.fine("synchronising", "it takes %v to have 4 KiB on the disk", d.Sync.Round(10*time.Microsecond))
	}
	return f.all
}

func judgeSpace(f *findings, d Data) {
	room := d.Free + d.Used
	if d.Most > 0 && d.Wanted > d.Most {
		f.fail("max_store", "Raise nats.embedded.max_store, or lower history.max_bytes.", "what is set aside for the apps (%s) is more than nats.embedded.max_store (%s)", bytesOf(d.Wanted), bytesOf(d.Most))
	}
	switch {
	case d.Free < 64<<20:
		f.fail("free space", "Make room: without it the log stops.", "%s are free", bytesOf(d.Free))
	case room < d.Wanted:
		f.warn("free space", "Make room, or lower history.max_bytes.", "%s are free, and the apps may keep %s, of which %s are there", bytesOf(d.Free), bytesOf(d.Wanted), bytesOf(d.Used))
	case d.Free < d.Whole/10:
		f.warn("free space", "Make room.", "%s of %s are free, less than a tenth", bytesOf(d.Free), bytesOf(d.Whole))
	default:
		f.fine("free space", "%s are free, and the apps may keep %s", bytesOf(d.Free), bytesOf(d.Wanted))
	}
}
