package rest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEV01_ChannelAndChannels(t *testing.T) {
	r := newRig(t, nil)
	r.publish(`{"name":"n","channel":"one","data":"d"}`)
	r.publish(`{"name":"n","channel":"ignored","channels":["two","three"],"data":"d"}`)
	for channel, want := range map[string]int{"one": 1, "two": 1, "three": 1, "ignored": 0} {
		if n := len(r.stored("app", channel)); n != want {
			t.Errorf("%d events on %s, want %d", n, channel, want)
		}
	}
}

// TestEV03_OfRepeatedMembersTheFirstCounts: of repeated members the first counts, whatever the others are.
// The same holds for frames and for the data in which a conflation value is looked up.
func TestEV03_OfRepeatedMembersTheFirstCounts(t *testing.T) {
	r := newRig(t, nil)
	const members = `"name":"first","channel":"c","data":"1","tags":{"a":"x","a":"y"},"tags":7,"conflation_key":"k","delta":false,"message_id":"m",` +
		`"extras":{"echo":true,"echo":false,"headers":{"h":1,"h":null},"headers":null},"socket_id":"1.2"`
	const others = `"NAME":"second","channel":"d","data":"2","tags":{"a":"z"},"conflation_key":null,"delta":true,"message_id":[],"extras":{"echo":false},"socket_id":"1.3"`
	for _, body := range []string{`{` + members + `}`, `{` + members + `,` + others + `}`} {
		if a := r.publish(body); a.Status != http.StatusOK {
			t.Fatalf("%s: got %d %s", body, a.Status, a.Body)
		}
	}
	all := r.stored("app", "c")
	if len(all) != 2 || len(r.stored("app", "d")) != 0 {
		t.Fatalf("%d events are stored", len(all))
	}
	for i := range all {
		all[i].Extras = nil // extras are passed on as they were sent
	}
	if diff := cmp.Diff(all[0].Event, all[1].Event); diff != "" || all[0].Name != "first" || all[0].Tags["a"] != "x" || all[0].ExcludeSocket != "" {
		t.Errorf("%+v; what repeated members change (-without +with):\n%s", all[0].Event, diff)
	}
	for body, want := range map[string]string{
		`{"name":7,"name":"n","channel":"c","data":"d"}`:                                                   "name must be a string",
		`{"name":"n","channel":"c","data":"d","tags":{"a":1,"a":"x"}}`:                                     `the value of \"a\"`,
		`{"name":"n","channel":"c","data":"d","extras":{"headers":{"h":null,"h":1}}}`:                      `the value of \"h\"`,
		`{"name":"n","channel":"c","data":"d","extras":{"replay":{"serial":-1,"serial":1}},"extras":null}`: "serial",
	} {
		if a := r.publish(body); a.Status != http.StatusBadRequest || !strings.Contains(string(a.Body), want) {
			t.Errorf("%s: got %d %s", body, a.Status, a.Body)
		}
	}
}

func TestEV03_DataThatIsNoStringIsItsText(t *testing.T) {
	r := newRig(t, nil)
	for i, data := range []string{`{"b": 1, "a":[ 2 ]}`, `17`, `true`, `null`, `[1,2]`} {
		channel := fmt.Sprint("c", i)
		if a := r.publish(`{"name":"n","channel":"` + channel + `","data":` + data + `}`); a.Status != http.StatusOK {
			t.Errorf("%s: got %d %s", data, a.Status, a.Body)
			continue
		}
		if got := string(r.stored("app", channel)[0].Data); got != data {
			t.Errorf("%s is stored as %s", data, got)
		}
	}
}

func TestEV04_AHundredChannels(t *testing.T) {
	r := newRig(t, nil)
	for n, want := range map[int]int{100: http.StatusOK, 101: http.StatusBadRequest} {
		var names []string
		for i := range n {
			names = append(names, fmt.Sprintf("%q", fmt.Sprint("c", i)))
		}
		if a := r.publish(`{"name":"n","channels":[` + strings.Join(names, ",") + `],"data":"d"}`); a.Status != want {
			t.Errorf("%d channels: got %d %s", n, a.Status, a.Body)
		}
	}
	if n := len(r.stored("app", "c99")); n != 1 {
		t.Errorf("%d events on the last channel", n)
	}
}

func TestEV05_AChannelNamedTwiceGetsOne(t *testing.T) {
	r := newRig(t, nil)
	r.publish(`{"name":"n","channels":["a","b","a"],"data":"d"}`)
	if n := len(r.stored("app", "a")); n != 1 {
		t.Errorf("%d events", n)
	}
}

func TestEV06_TheLimitOfDataIsInBytes(t *testing.T) {
	r := newRig(t, nil)
	for _, c := range []struct {
		data string
		want int
	}{
		{strings.Repeat("x", 10240), http.StatusOK}, {strings.Repeat("x", 10241), http.StatusRequestEntityTooLarge},
		{strings.Repeat("é", 5120), http.StatusOK}, {strings.Repeat("é", 5120) + "x", http.StatusRequestEntityTooLarge},
	} {
		a := r.publish(`{"name":"n","channel":"c","data":"` + c.data + `"}`)
		if a.Status != c.want {
			t.Errorf("%d bytes: got %d", len(c.data), a.Status)
		}
	}
}

func TestHS08_ErrorsHaveOneForm(t *testing.T) {
	r := newRig(t, nil)
	for _, body := range []string{``, `{`, `{"name":"n"}`, `{"name":"pusher:x","channel":"c","data":"d"}`, `{"name":"n","channel":"c","data":"` + strings.Repeat("x", 20000) + `"}`} {
		a := r.publish(body)
		var said map[string]any
		if err := json.Unmarshal(a.Body, &said); err != nil {
			t.Fatalf("%s: %v", a.Body, err)
		}
		text, _ := said["error"].(string)
		code, _ := said["code"].(string)
		if status, _ := said["status"].(float64); text == "" || code == "" || int(status) != a.Status || a.Status < 400 || len(said) != 3 {
			t.Errorf("%.40s: got %d %s", body, a.Status, a.Body)
		}
	}
}
