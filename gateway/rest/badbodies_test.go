package rest

import (
	"fmt"
	"strings"
)

// SentBody is a body and the route that it is for.
type SentBody struct{ Route, Body string }

// whole has every member of an event, so that cutting it anywhere breaks another part.
const whole = ` {"name":"a\n\u00e9\ud83d\ude00","data":"{\"x\":[1,-2.5e+3,true,false,null]}","channels":["a","b"],"channel":"c","socket_id":"1.2",` +
	`"info":["user_count","subscription_count"],"tags":{"k":"v","l":null},"delta":true,"idempotency_key":"i","message_id":"m","conflation_key":"q",` +
	`"extras":{"headers":{"a":1,"b":"x","c":false},"echo":true,"replay":{"channel":"c","stream_id":"s","serial":7,"published_at_ms":-8}},` +
	`"else":{"deep":[[],{},[{"a":0.5E-1}]]}} `

// BadBodies returns the bodies whose answers are pinned.
func BadBodies() []SentBody {
	var out []SentBody
	both := func(event string) {
		out = append(out, SentBody{"events", event}, SentBody{"batch_events", `{"batch":[{"name":"n","channel":"c","data":"d"},` + event + `]}`})
	}
	for n := range len(whole) - 1 {
		out = append(out, SentBody{"events", whole[:n]})
	}
	for _, field := range []string{
		"name", "data", "channels", "channel", "socket_id", "info", "tags", "delta", "idempotency_key", "message_id", "conflation_key", "extras", "other",
	} {
		for _, value := range []string{`null`, `true`, `12`, `-1.5e3`, `"x"`, `""`, `[]`, `[1,"a"]`, `[null]`, `["a",{}]`, `{}`, `{"a":1}`, `{"a":null}`, `{"a":"b"}`, `1e999`} {
			both(`{"` + field + `":` + value + `,"name":"n","channel":"c","data":"d"}`)
		}
	}
	for _, member := range []string{"headers", "ephemeral", "echo", "idempotencyKey", "idempotency_key", "replay", "other"} {
		for _, value := range []string{`null`, `true`, `12`, `"x"`, `[]`, `[1]`, `{}`, `{"a":[]}`, `{"a":null}`, `{"a":1e999}`, `{"a":[{"b":-1e999}]}`} {
			both(`{"name":"n","channel":"c","data":"d","extras":{"` + member + `":` + value + `}}`)
		}
	}
	for _, member := range []string{"channel", "stream_id", "serial", "published_at_ms"} {
		for _, value := range []string{`null`, `true`, `12`, `-12`, `1.5`, `1e3`, `99999999999999999999`, `"x"`, `[]`, `{}`} {
			both(`{"name":"n","channel":"c","data":"d","extras":{"replay":{"` + member + `":` + value + `,"channel":"c","stream_id":"s","serial":1,"published_at_ms":2}}}`)
		}
	}
	for _, body := range oddBodies() {
		out = append(out, SentBody{"events", body}, SentBody{"batch_events", body})
	}
	for _, event := range oddEvents() {
		both(event)
	}
	return out
}

// oddBodies returns bodies that are not events by themselves.
func oddBodies() []string {
	deep := func(open, shut string, n int) string { return strings.Repeat(open, n) + "1" + strings.Repeat(shut, n) }
	twelve := strings.TrimSuffix(strings.Repeat(`{"name":"n","channel":"c","data":"d"},`, 12), ",")
	return []string{
		`{"batch":[` + twelve + `,1]}`, `{"batch":[` + twelve + `,{"tags":[],"name":1}]}`, `{"batch":[` + twelve + `,{"name":1,"tags":{"a":}}]}`, `{"batch":[` + twelve + `,{"info":[1]}]}`,
		`{"batch":[` + twelve + `,]}`, `{"batch":[` + twelve + `}`, `{"batch":[` + twelve + `],"batch":[null,{}]}`, `{"batch":[` + twelve + `],"batch":[],"batch":[null]}`, `{"batch":[` + twelve + `],"batch":null}`,
		`{"batch":[{"name":"n"}],"batch":[` + twelve + `],"batch":[{},{},{"channel":"","channels":[]}]}`, `{"batch":[` + twelve + `]} x`,
		``, ` `, "\n\t\r ", `null`, ` null `, `true`, `false`, `12`, `-`, `-0`, `-x`, `01`, `1.`, `1.x`, `1e`, `1e+`, `1ex`, `1.5.2`, `.5`, `+1`, `"text"`, `"`, `"\`, `"\x"`, `"\u12`,
		`"\u12g4"`, `'x'`, `nul`, `nulL`, `nxll`, `tru`, `trux`, `txue`, `fals`, `falsx`, `fxlse`, `faxse`, `falXe`, `{`, `[`, `}`, `]`, `,`, `:`, `{}`, `[]`, `[1,]`, `[,1]`, `[1 2]`, `[1`, `[1,`, `{"a"}`, `{"a":}`,
		`{"a":1,}`, `{"a":1 "b":2}`, `{"a" 1}`, `{a:1}`, `{1:2}`, `{,}`, `{"a":1]`, `[1}`, `{}x`, `{} {}`, `null,`, `12x`, `1 2`, `{"a":"` + "\n" + `"}`, `{"a":"` + "\x00" + `"}`, "{\"a\":\"\x7f\"}", `{"a` + "\t" + `":1}`,
		"\xff", "{\"a\":\"\xff\"}", "{\"a\":\"\xed\xa0\x80\"}", "{\"a\":\"\xc0\x80\"}", "{\"\xe9\":1}", "{\xff", "\ufeff{}", "é", `{é:1}`, `{"a":é}`, "[1,\u00a02]", "{}\x00", "\x01", `{"a":'b'}`, `{"a":"b"'}`, `{"a":"b" "}`,
		`{"batch":null}`, `{"batch":[]}`, `{"batch":{}}`, `{"batch":"x"}`, `{"batch":1}`, `{"batch":true}`, `{"batch":[1]}`, `{"batch":[null]}`, `{"batch":["x"]}`, `{"batch":[[]]}`, `{"batch":[true,{}]}`, `{"batch":[{}]}`, `{"batch":[{}`,
		`{"batch":[{"name":1},{"name":true}]}`, `{"batch":[{"name":1},2]}`, `{"batch":[{"name":"n","channels":["c"],"data":"d"}]}`, `{"batch":[{"name":"n","channels":[],"channel":"c","data":"d"}]}`, `{"batch":[1],"batch":[]}`,
		`{"batch":[{"name":"n","channel":"c","data":"d"}],"batch":[null,null]}`, `{"batch":[{"name":"n","channel":"c","data":"d"}],"Batch":[{"data":""},{"name":"m"}]}`,
		`{"batch":[` + strings.Repeat(`{"name":"n","channel":"c","data":"d"},`, 10) + `{"name":"n","channel":"c","data":"d"}]}`,
		deep(`[`, `]`, 9999), deep(`[`, `]`, 10000), deep(`[`, `]`, 10001), deep(`{"a":`, `}`, 10000), deep(`{"a":`, `}`, 10001), strings.Repeat(`[`, 10001), strings.Repeat(`[`, 20000), `{"batch":` + deep(`[`, `]`, 9999) + `}`, `{"batch":` + deep(`[`, `]`, 10000) + `}`,
	}
}

// oddEvents returns objects that could be events.
func oddEvents() []string {
	event := func(more string) string { return `{` + more + `,"name":"n","channel":"c","data":"d"}` }
	return []string{
		`{}`, `{"name":"n"}`, `{"name":"n","channel":"c"}`, `{"channel":"c","data":"d"}`, `{"name":"n","data":"d"}`, `{"name":"n","channels":[],"channel":"c","data":"d"}`,
		event(`"name":1,"name":"n"`), event(`"name":null`), event(`"name":""`), event(`"NAME":""`), event(`"Name":1`), event(`"\u006eame":1`), event(`"tag\u017f":1`), event(`"tagſ":1`), event(`"socKet_id":1`), event(`"\u212a":1`), event(`"Data":1,"dAta":"","name":2`),
		event(`"data":null,"name":""`), event(`"channels":["a","b"],"channels":[null,1]`), event(`"channels":["a",""],"channels":["x"],"channels":[null,null]`), event(`"channels":["a"],"channels":null,"channel":""`),
		event(`"delta":1,"name":2`), event(`"name":2,"info":3`), event(`"info":3,"name":2`), event(`"info":[1,true]`), event(`"info":["a",null]`), event(`"info":[["a"]]`), event(`"info":"user_count,x"`), event(`"info":["user_count","cache"]`), event(`"info":1,"info":{}`),
		event(`"tags":{"a":1},"tags":{"a":"x"},"tags":{"":"x"}`), event(`"tags":{"a":"x"},"tags":null,"tags":{"b":2}`), event(`"tags":{"a":"x","a":1}`), event(`"tags":{"\ud800":1}`), event(`"tags":{"` + strings.Repeat("k", 257) + `":"v"}`),
		event(`"tags":{"k":"` + strings.Repeat("v", 1025) + `"}`), event(`"tags":{` + strings.TrimSuffix(manyTags(33), ",") + `}`),
		event(`"tags":{` + manyTags(40) + `"k39":1,"k\u0033":2}`), event(`"tags":{` + manyTags(40) + `"x":1},"tags":null,"tags":{"k":1}`), event(`"tags":{` + manyTags(32) + `"k\u0033":1,"k31":"w"}`),
		event(`"channels":[` + strings.Repeat(`"c",`, 120) + `1]`), event(`"channels":[` + strings.Repeat(`"c",`, 120) + `""],"channels":["d"]`), event(`"channels":[` + strings.Repeat(`"c",`, 120) + `""],"channels":null`),
		event(`"channels":[` + strings.Repeat(`"c",`, 120) + `""],"channels":[]`),
		`{"name":"` + strings.Repeat("n", 201) + `","channel":"c","data":"d"}`, `{"name":"pusher:x","channel":"c","data":"d"}`, `{"name":"pusher_internal:x","channel":"c","data":"d"}`, `{"name":"\u0000","channel":"c","data":1e5}`, `{"name":"\ud800","channel":"é","data":1}`,
		`{"name":"n","channel":"` + strings.Repeat("c", 201) + `","data":"d"}`, `{"name":"n","channels":["c","a b"],"data":"d"}`, `{"name":"n","channels":["c",""],"data":"d"}`, `{"name":"n","channel":"#server-to-user-","data":"d"}`, `{"name":"n","channels":[` + strings.Repeat(`"c",`, 100) + `"c"],"data":"d"}`,
		`{"name":"n","channel":"c","data":"` + strings.Repeat("x", 10241) + `"}`, `{"name":"n","channel":"c","data":"` + strings.Repeat(`\u00e9`, 5121) + `"}`, `{"name":"n","channel":"c","data":["` + strings.Repeat("x", 10240) + `"]}`, `{"name":"n","channel":"c","data":"` + strings.Repeat(`\ud83d`, 3414) + `"}`,
		event(`"socket_id":"x"`), event(`"socket_id":"1.2.3"`), event(`"message_id":"` + strings.Repeat("m", 129) + `"`), event(`"conflation_key":"` + strings.Repeat("k", 257) + `"`), event(`"idempotency_key":""`), event(`"idempotency_key":"` + strings.Repeat("k", 129) + `"`),
		event(`"extras":{"ephemeral":true}`), event(`"extras":{"Ephemeral":true}`), event(`"extras":{"headers":{"a":{}},"headers":{"a":1},"headers":{"b":null}}`), event(`"extras":{"headers":{"a":null},"headers":null}`), event(`"extras":{"headers":1,"echo":1}`), event(`"extras":{"echo":1,"headers":{"a":1e999}}`),
		event(`"extras":{"idempotencyKey":""}`), event(`"extras":{"idempotency_key":"` + strings.Repeat("k", 129) + `"}`), event(`"extras":{"idempotencyKey":"a","IDEMPOTENCY_KEY":""}`), event(`"extras":{"x":"` + strings.Repeat("x", 16<<10) + `"}`), event(`"extras":{"x":[{]}`), event(`"extras": {} x`),
		event(`"extras":{"replay":{"channel":"c","stream_id":"s","serial":1,"published_at_ms":2,"x":"` + strings.Repeat("x", 2048) + `"}}`), event(`"extras":{"replay":{"serial":-1,"serial":1.5}}`), event(`"extras":{"replay":{"Serial":"x","channel":1}}`), event(`"extras":{"replay":1,"echo":"x"}`), event(`"extras":{"replay":{},"replay":null}`),
		event(`"extras":{"a":` + strings.Repeat("[", 9998) + strings.Repeat("]", 9998) + `,"echo":1}`), event(`"x":` + strings.Repeat("[", 10000)),
	}
}

func manyTags(n int) string {
	var out strings.Builder
	for i := range n {
		fmt.Fprintf(&out, `"k%d":"v",`, i)
	}
	return out.String()
}
