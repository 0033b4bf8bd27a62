package rest

import (
	"runtime"
	"testing"
	"weak"
)

// TestTrust01AnswersDoNotHoldTheirLists: an unread answer with a small part of a list of channels must not
// keep the list. Before, it kept the whole list, and nothing counted that.
func TestTrust01AnswersDoNotHoldTheirLists(t *testing.T) {
	r := largeRequest(t, largeCensus{largeList(2000), 100})
	ask := func() (*shared, weak.Pointer[roll]) {
		list, err := r.rollOfChannels(t.Context(), r.api.opt.Census)
		if err != nil {
			t.Fatal(err)
		}
		got, err := list.answer(r, question{prefix: list.names[7]})
		if err != nil {
			t.Fatal(err)
		}
		return got.(*shared), weak.Make(list)
	}
	answer, list := ask()
	for range 3 {
		runtime.GC()
	}
	if list.Value() != nil {
		t.Error("the list is held by an answer that nobody has taken")
	}
	if len(answer.body) == 0 {
		t.Error("the answer is empty")
	}
	answer.release()
}
