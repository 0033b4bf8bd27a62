package codec

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/sluicehq/sluice/delta"
	"github.com/sluicehq/sluice/test/workload"
)

// oracle is the Node process that decodes.
type oracle struct {
	t       *testing.T
	cmd     *exec.Cmd
	in      io.WriteCloser
	records *bufio.Writer
	out     bytes.Buffer
	errs    bytes.Buffer
	encoder delta.Encoder
	fossil  []byte
	vcdiff  []byte
	pairs   int
}

func newOracle(t *testing.T) *oracle {
	t.Helper()
	if _, err := os.Stat("node_modules"); err != nil {
		t.Fatalf("the Node packages are not installed; scripts/test does that: %v", err)
	}
	o := &oracle{t: t, cmd: exec.Command("node", "oracle.mjs")}
	o.cmd.Stdout, o.cmd.Stderr = &o.out, &o.errs
	var err error
	if o.in, err = o.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	o.records = bufio.NewWriterSize(o.in, 1<<20)
	if err := o.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return o
}

// check encodes a pair in both formats and has it decoded.
func (o *oracle) check(base, target []byte) {
	o.t.Helper()
	o.fossil = o.encoder.AppendFossil(o.fossil[:0], base, target)
	o.vcdiff = o.encoder.AppendVCDIFF(o.vcdiff[:0], base, target)
	for _, part := range [][]byte{base, target, o.fossil, o.vcdiff} {
		_, _ = o.records.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		if _, err := o.records.Write(part); err != nil {
			o.t.Fatalf("%v: %s", err, &o.errs)
		}
	}
	o.pairs++
}

// verdict ends the process and fails the test for every problem that it saw.
func (o *oracle) verdict() {
	o.t.Helper()
	if err := o.records.Flush(); err != nil {
		o.t.Fatalf("%v: %s", err, &o.errs)
	}
	_ = o.in.Close()
	if err := o.cmd.Wait(); err != nil {
		o.t.Fatalf("%v: %s", err, &o.errs)
	}
	var said struct {
		Pairs, Count int
		Problems     []string
	}
	if err := json.Unmarshal(o.out.Bytes(), &said); err != nil {
		o.t.Fatalf("%v: %s", err, &o.out)
	}
	if said.Pairs != o.pairs || said.Count > 0 {
		o.t.Errorf("%d of %d pairs were decoded, %d problems: %q", said.Pairs, o.pairs, said.Count, said.Problems)
	}
}

// The number of pairs can be set with CODEC_PAIRS.
func TestCO03_CO04_PublicDecodersRebuildRandomPairs(t *testing.T) {
	n := number(t, "CODEC_PAIRS", 100_000)
	o := newOracle(t)
	pairs := workload.NewPairs(7, 64<<10)
	for range n {
		o.check(pairs.Next())
	}
	o.verdict()
}

func TestCO03_CO04_PublicDecodersRebuildTheStreams(t *testing.T) {
	o := newOracle(t)
	for _, s := range workload.All() {
		base := bytes.Clone(s.Next())
		for range 200 {
			target := bytes.Clone(s.Next())
			o.check(base, target)
			base = target
		}
	}
	o.verdict()
}

// number reads an environment variable.
func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s is %q, must be a number from 1", name, text)
	}
	return n
}

// xdelta3 is two processes per pair, so there are fewer of them; scripts/soak sets
// XDELTA_PAIRS to 100,000.
func TestXdelta3RebuildsWhatWeEncode(t *testing.T) {
	tool, err := exec.LookPath("xdelta3")
	if err != nil {
		t.Fatalf("xdelta3 is not installed; scripts/test does that: %v", err)
	}
	n := number(t, "XDELTA_PAIRS", 150)
	const workers = 4
	for w := range workers {
		t.Run(strconv.Itoa(w), func(t *testing.T) {
			t.Parallel()
			x := xdelta3{t: t, tool: tool, dir: t.TempDir()}
			pairs := workload.NewPairs(11+uint64(w), 16<<10)
			for range (n + workers - 1) / workers {
				x.check(pairs.Next())
			}
			if w > 0 {
				return
			}
			for _, s := range workload.All() {
				base := bytes.Clone(s.Next())
				for range 5 {
					target := bytes.Clone(s.Next())
					x.check(base, target)
					base = target
				}
			}
		})
	}
}

// xdelta3 decodes what we encode, and the other way round.
type xdelta3 struct {
	t         *testing.T
	tool, dir string
	encoder   delta.Encoder
}

func (x *xdelta3) file(name string, content []byte) string {
	x.t.Helper()
	path := filepath.Join(x.dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		x.t.Fatal(err)
	}
	return path
}

// Without -D the tool would first decompress what begins like a compressed file, as
// one in ninety thousand random texts does.
func (x *xdelta3) check(base, target []byte) {
	x.t.Helper()
	source, diff := x.file("base", base), x.file("delta", x.encoder.AppendVCDIFF(nil, base, target))
	got, err := exec.Command(x.tool, "-d", "-c", "-D", "-s", source, diff).Output()
	if err != nil || !bytes.Equal(got, target) {
		x.t.Fatalf("%d to %d bytes: xdelta3 gave %d bytes, %v", len(base), len(target), len(got), err)
	}
	// And back, without what the profile leaves out.
	made, err := exec.Command(x.tool, "-e", "-c", "-D", "-n", "-A", "-S", "none", "-s", source, x.file("target", target)).Output()
	if err != nil {
		x.t.Fatal(err)
	}
	got, err = delta.ApplyVCDIFF(nil, base, made, len(target))
	if err != nil || !bytes.Equal(got, target) {
		x.t.Fatalf("%d to %d bytes: our decoder gave %d bytes, %v", len(base), len(target), len(got), err)
	}
}
