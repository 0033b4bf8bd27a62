// Command pack puts a folder into an archive that has the same bytes every time: files in
// the order of their names, of one time and of nobody.
//
//	go run ./scripts/pack sluice.tar.gz DIR UNIX_SECONDS
//	go run ./scripts/pack sluice.zip DIR UNIX_SECONDS
package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func run(args []string) (err error) {
	if len(args) != 3 {
		return errors.New("usage: pack ARCHIVE DIR UNIX_SECONDS")
	}
	seconds, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return err
	}
	out, err := os.Create(args[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	at := time.Unix(seconds, 0).UTC()
	if strings.HasSuffix(args[0], ".zip") {
		return zipped(out, args[1], at)
	}
	return tarred(out, args[1], at)
}

// each calls f for all files below dir, in the order of their names, which begin with that of dir.
func each(dir string, f func(name string, executable bool, content []byte) error) error {
	return filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		below, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		return f(path.Join(filepath.Base(dir), filepath.ToSlash(below)), info.Mode()&0o100 != 0, content)
	})
}

func mode(executable bool) fs.FileMode {
	if executable {
		return 0o755
	}
	return 0o644
}

func tarred(w io.Writer, dir string, at time.Time) error {
	squeezed, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	files := tar.NewWriter(squeezed)
	err = each(dir, func(name string, executable bool, content []byte) error {
		head := &tar.Header{Name: name, Mode: int64(mode(executable)), Size: int64(len(content)), ModTime: at, Format: tar.FormatPAX}
		if err := files.WriteHeader(head); err != nil {
			return err
		}
		_, err := files.Write(content)
		return err
	})
	return errors.Join(err, files.Close(), squeezed.Close())
}

func zipped(w io.Writer, dir string, at time.Time) error {
	files := zip.NewWriter(w)
	err := each(dir, func(name string, executable bool, content []byte) error {
		head := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: at}
		head.SetMode(mode(executable))
		f, err := files.CreateHeader(head)
		if err != nil {
			return err
		}
		_, err = f.Write(content)
		return err
	})
	return errors.Join(err, files.Close())
}
