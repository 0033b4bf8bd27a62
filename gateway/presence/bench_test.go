package presence

import (
	"testing"

	"github.com/sluicehq/sluice/kv"
)

// BenchmarkChanged measures what a room does with one record: a member that joins or leaves, or a changed
// number of subscriptions of a gateway.
func BenchmarkChanged(b *testing.B) {
	r, err := New(b.Context(), Options{Table: kv.NewMemoryTable(nil), Node: "here", Tell: func(string, string, Change) {}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { r.Close(b.Context()) })
	for name, user := range map[string]string{"count": "", "member": "ada"} {
		b.Run(name, func(b *testing.B) {
			room, err := r.Open(b.Context(), "app", "presence-"+name, nil)
			if err != nil {
				b.Fatal(err)
			}
			defer room.Close()
			s := seat{"app", "presence-" + name, "here", user}
			var records [2]kv.Record
			for i := range records {
				records[i].Key = s.key()
				records[i].Value = mustJSON(content{User: user, Count: 1 + i, Gone: user != "" && i == 1})
			}
			b.ReportAllocs()
			for revision := uint64(1000); b.Loop(); revision++ {
				rec := records[revision%2]
				rec.Revision = revision
				room.Changed(rec)
			}
		})
	}
}
