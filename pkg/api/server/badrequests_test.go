package server

import (
	"fmt"
	"strings"

	"are-we-alive/pkg/api/internal/wire"
	"are-we-alive/pkg/awa"
)

// BadRequest is a request that must be refused, with nothing changed.
type BadRequest struct {
	Name string
	Raw  string // the bytes to send
	// The refusal: its status, code and sentence, word for word.
	Status     int
	Code, Text string
}

// BadRequests are refused by an agent n1 whose list holds n1 (node 1) and n2
// (node 2), whatever is behind the server.
func BadRequests() []BadRequest {
	var all []BadRequest
	for _, group := range []func() []BadRequest{badPaths, badParameters, badBodies, badEdits, badNodes, badPushes,
		badProbes, badGoodbyes, badCallers} {
		all = append(all, group()...)
	}
	return all
}

const (
	exampleEdit = `{"action":"CREATE","data":{"name":"n1","host":"10.0.0.1","port":"25483"}}`
	examplePush = `{"id":13,"action":"CREATE","data":"{…}"}`
	notJSON     = "the body is not the JSON that is expected: send one such as "
	notObject   = `the data is not a JSON object: send one such as {"name":"n1","host":"10.0.0.1","port":"25483"}`
)

func badPaths() []BadRequest {
	get := func(name, target, shown string) BadRequest {
		return BadRequest{Name: name, Raw: message("GET", target, ""), Status: 404, Code: "not_found",
			Text: "there is no " + shown + " here: see the list of calls in the documentation"}
	}
	return []BadRequest{
		get("the root", "/", "/"),
		get("an unknown path", "/v1/node", "/v1/node"),
		get("another version", "/v2/status", "/v2/status"),
		get("a slash too many", "/ping/", "/ping/"),
		get("another case", "/PING", "/PING"),
		get("a long path", "/"+strings.Repeat("x", 2000), "/"+strings.Repeat("x", 79)+"…"),
		get("a path that leaves", "/../../etc/passwd", "/etc/passwd"),
		get("a path that is not UTF-8", "/%ff%fe", "/��"),
		get("a path with a NUL byte", "/ping%00", "/ping\x00"),
		{Name: "an unknown path, with a body", Raw: message("POST", "/v1/node", "{}"), Status: 404, Code: "not_found",
			Text: "there is no /v1/node here: see the list of calls in the documentation"},
		{Name: "an unknown method, unknown path", Raw: message("FOO", "/bar", ""), Status: 404, Code: "not_found",
			Text: "there is no /bar here: see the list of calls in the documentation"},
	}
}

func badParameters() []BadRequest {
	const most = "use a whole number from -1 to 9223372036854775807"
	bad := func(target, text string) BadRequest {
		return BadRequest{target, message("GET", target, ""), 400, "bad_input", text}
	}
	all := []BadRequest{
		bad("/sync", "the parameter state is missing: /sync?state=-1 returns all changes"),
		bad("/sync?State=1", "the parameter state is missing: /sync?state=-1 returns all changes"),
		bad("/v1/status?cached=maybe", "cached=maybe is not understood: use cached=1 or leave it out"),
		bad("/v1/status?node=", `node: "" is not a name for a node: use 1 to 63 letters, digits, dots, dashes and `+
			`underscores, a letter or `+
			`digit first`),
		bad("/v1/status?node=n1&node=a+b",
			`node: "a b" is not a name for a node: use 1 to 63 letters, digits, dots, dashes and `+
				`underscores, a letter or digit first`),
		bad("/v1/status?within_ms=0", "within_ms=0 is not a time to answer in: use a number of milliseconds, or leave it out"),
		bad("/v1/status?within_ms=-5", "within_ms=-5 is not a time to answer in: use a number of milliseconds, or leave it out"),
		bad("/v1/status?within_ms=9999999999", "within_ms=9999999999 is not a time to answer in: use a number of "+
			"milliseconds, or leave it out"),
		bad("/v1/status?cached=2", "cached=2 is not understood: use cached=1 or leave it out"),
		bad("/v1/status?cached=true", "cached=true is not understood: use cached=1 or leave it out"),
	}
	for _, v := range [][2]string{
		{"abc", "abc"}, {"99999999999999999999", "99999999999999999999"}, {"9223372036854775808", "9223372036854775808"},
		{"-2", "-2"}, {"1.5", "1.5"}, {"1e3", "1e3"}, {"", ""}, {"0x10", "0x10"}, {"1_000", "1_000"}, {"%2B1",
			"+1"}, {"1%20", "1 "},
		{"%00", "\x00"}, {"%ff", "�"}, {"NaN", "NaN"}, {strings.Repeat("9", 500), strings.Repeat("9", 80) + "…"},
		{strings.Repeat("9", 79) + "%C3%A4", strings.Repeat("9", 79) + "…"},
	} {
		all = append(all,
			bad("/sync?state="+v[0], "state="+v[1]+" is not a state: "+most),
			bad("/v1/changes?since="+v[0], "since="+v[1]+" is not a state: "+most))
	}
	for _, v := range []string{"yesterday", "-24h", "24", "2026-11-23", "2026-11-23 18:00:00Z"} {
		all = append(all, bad("/v1/events?since="+strings.ReplaceAll(v, " ", "%20"), "since="+v+" is not a time: use one "+
			"such as 2026-11-25T18:00:00Z, or how long ago, such as 24h"))
	}
	all = append(all, bad("/v1/events?after=x", "after=x is not a state: "+most))
	for _, v := range []string{"0", "-1", "abc", "", "99999999999", "1.5"} {
		text := "limit=" + v + " is not a limit: use a whole number from 1"
		all = append(all, bad("/sync?state=0&limit="+v, text), bad("/v1/changes?limit="+v, text),
			bad("/v1/events?limit="+v, text))
	}
	return all
}

func badProbes() []BadRequest {
	const none = `the body names no node: send the ids of some, such as {"nodes":[3,7]}`
	const noJSON = notJSON + `{"nodes":[3,7]}`
	bad := func(body, text string) BadRequest {
		return BadRequest{"probe " + body, message("POST", wire.PathProbe, body), 400, "bad_input", text}
	}
	within := func(ms string) string {
		return "within_ms=" + ms + " is not a time to ping in: use a number of milliseconds up to 22000"
	}
	return []BadRequest{
		bad(`{}`, none), bad(`{"nodes":[]}`, none), bad(`{"nodes":null}`, none), bad(`{"Node":[3]}`, none),
		bad(`{"nodes":["n1"]}`, noJSON), bad(`{"nodes":[-1]}`, noJSON), bad(`{"nodes":3}`, noJSON), bad(`{"nodes":[1.5]}`,
			noJSON),
		bad(`{"nodes":[2],"within_ms":-1}`, within("-1")), bad(`{"nodes":[2],"within_ms":22001}`, within("22001")),
		bad(`{"nodes":[2],"within_ms":"x"}`, noJSON),
	}
}

// badGoodbyes are of agents that say what none does, or of nobody.
func badGoodbyes() []BadRequest {
	bad := func(path, body, text string, headers ...string) BadRequest {
		return BadRequest{path + " " + awa.Clip(body), message("POST", path, body, headers...), 400, "bad_input", text}
	}
	const word = `: it must be 1 to 64 letters, digits and some of . _ : + ~ -`
	from := []string{"Awa-Uid: " + testUID, "Awa-State: 1"}
	return []BadRequest{
		bad(wire.PathGoodbye, `{"reason":"service"}`, "/v1/goodbye is for agents among themselves: the header Awa-Uid is missing"),
		bad(wire.PathGoodbye, `{"reason":"\u001b[31m"}`, `the reason of a goodbye is "\x1b[31m"`+word, from...),
		bad(wire.PathGoodbye, `{}`, `the reason of a goodbye is ""`+word, from...),
		bad(wire.PathNotified, `{"notified":[{"node_id":1,"at":"2026-11-23T18:00:00Z","by":""}]}`,
			`element 0 of notified: by is ""`+word),
		bad(wire.PathNotified, `{"notified":[{"code":"<b>","at":"2026-11-23T18:00:00Z","by":"x"}]}`,
			`element 0 of notified: code is "<b>"`+word),
		bad(wire.PathNotified, `{"notified":[`+strings.Repeat(`{},`, 1000)+`{}]}`,
			"the body holds 1001 elements: send at most 1000 at once"),
	}
}

// badBodies are not JSON, or no JSON of the shape that is expected.
func badBodies() []BadRequest {
	var all []BadRequest
	for target, example := range map[string]string{wire.PathChanges: exampleEdit, wire.PathPush: examplePush,
		wire.PathProbe: `{"nodes":[3,7]}`, wire.PathGoodbye: `{"reason":"service"}`,
		wire.PathNotified: `{"notified":[]}`} {
		bad := func(name, body string) {
			all = append(all, BadRequest{target + ", " + name, message("POST", target, body), 400, "bad_input",
				notJSON + example})
		}
		all = append(all,
			BadRequest{Name: target + ", no body", Raw: message("POST", target, ""), Status: 400, Code: "bad_input",
				Text: "the body is empty: send one such as " + example},
			BadRequest{Name: target + ", a body too large", Raw: message("POST", target, strings.Repeat(" ", maxBody+1)),
				Status: 413, Code: "too_large", Text: "the body is larger than 1048576 bytes: nothing was changed"},
			BadRequest{Name: target + ", a body too large, in chunks",
				Raw: chunked("POST", target, strings.Repeat(" ", maxBody),
					" "), Status: 413, Code: "too_large", Text: "the body is larger than 1048576 bytes: nothing was changed"},
			BadRequest{Name: target + ", a body said to be too large", Raw: "POST " + target + " HTTP/1.1\r\nHost: " +
				"n1\r\nContent-Length: 99999999999\r\n\r\n{", Status: 413, Code: "too_large", Text: "the body is larger than " +
				"1048576 bytes: nothing was changed"},
		)
		bad("a body of the largest size", strings.Repeat(" ", maxBody))
		bad("an array", `[]`)
		bad("a string", `"x"`)
		bad("a number", `7`)
		bad("half an object", `{"action":"CREATE"`)
		bad("text after it", `{"action":"DELETE","data":{"id":2}} x`)
		bad("two objects", `{"action":"DELETE","data":{"id":2}}{"action":"DELETE","data":{"id":1}}`)
		bad("no JSON", "action=DELETE&id=2")
		bad("XML", `<change action="DELETE"/>`)
		bad("a NUL byte", "\x00")
		bad("a NUL byte after it", `{"action":"DELETE","data":{"id":2}}`+"\x00")
		bad("a byte order mark", "\xef\xbb\xbf"+`{"action":"DELETE","data":{"id":2}}`)
		bad("UTF-16", "{\x00\"\x00}\x00")
		bad("single quotes", `{'action':'DELETE','data':{'id':2}}`)
		bad("a trailing comma", `{"action":"DELETE","data":{"id":2},}`)
		bad("a comment", `{"action":"DELETE",/* */"data":{"id":2}}`)
		bad("a leading zero", `{"action":"DELETE","data":{"id":02}}`)
		bad("NaN", `{"action":"DELETE","data":{"id":NaN}}`)
		bad("deep arrays", strings.Repeat("[", 100_000))
		bad("deep arrays in it", `{"action":"DELETE","data":`+strings.Repeat("[", 20_000)+strings.Repeat("]", 20_000)+`}`)
		bad("deep objects in it", `{"action":"DELETE","data":`+strings.Repeat(`{"a":`, 20_000)+"1"+strings.Repeat("}",
			20_000)+`}`)
		bad("a control character in a string", "{\"action\":\"DEL\x01ETE\",\"data\":{\"id\":2}}")
		bad("a line break in a string", "{\"action\":\"DEL\nETE\",\"data\":{\"id\":2}}")
		bad("a broken escape", `{"action":"DEL\xETE","data":{"id":2}}`)
		bad("half an escape", `{"action":"\u00`)
		if target == wire.PathChanges || target == wire.PathPush {
			bad("an action that is a number", `{"action":3,"data":{"id":2}}`)
			bad("an action that is an object", `{"action":{},"data":{"id":2}}`)
		}
	}
	return all
}

// badEdits are JSON of the right shape that asks for nothing that can be done.
func badEdits() []BadRequest {
	var all []BadRequest
	bad := func(name, body string, status int, code, text string) {
		all = append(all, BadRequest{"edit, " + name, message("POST", wire.PathChanges, body), status, code, text})
	}
	bad("nothing in it", `{}`, 400, "bad_input", notObject)
	bad("null", `null`, 400, "bad_input", notObject)
	bad("no data", `{"action":"DELETE"}`, 400, "bad_input", notObject)
	for _, data := range []string{`null`, `[]`, `"{\"id\":2}"`, `2`, `true`, `[{"id":2}]`} {
		bad("data "+data, `{"action":"DELETE","data":`+data+`}`, 400, "bad_input", notObject)
	}
	for _, action := range []string{"", "delete", "DROP", "DELETE ", "CREATE\\u0000", strings.Repeat("D", 200)} {
		shown := action
		if len(shown) > 80 {
			shown = shown[:80] + "…"
		}
		if action == "CREATE\\u0000" {
			shown = `CREATE\x00`
		}
		bad("action "+shown, `{"action":"`+action+`","data":{"id":2,"name":"x","host":"h","port":1}}`, 400, "bad_input",
			`"`+shown+`" is not an action: use CREATE, UPDATE or DELETE`)
	}
	bad("action given twice", `{"action":"DELETE","action":"DROP","data":{"id":2}}`, 400, "bad_input",
		`"DROP" is not an action: use CREATE, UPDATE or DELETE`)
	for _, key := range []string{"name", "host", "port"} {
		fields := map[string]string{"name": `"x"`, "host": `"h"`, "port": `1`}
		data := func(value string) string {
			s := `{"id":2`
			for k, v := range fields {
				if k == key {
					v = value
				}
				if v != "" {
					s += `,"` + k + `":` + v
				}
			}
			return s + "}"
		}
		bad("CREATE without "+key, `{"action":"CREATE","data":`+data("")+`}`, 400, "bad_input",
			"the data of CREATE must hold "+key)
		bad("UPDATE without "+key, `{"action":"UPDATE","data":`+data("")+`}`, 400, "bad_input",
			"the data of UPDATE must hold "+key)
	}
	bad("UPDATE without id", `{"action":"UPDATE","data":{"name":"n2","host":"h","port":1}}`, 400, "bad_input",
		"the data of UPDATE must hold id")
	bad("DELETE without id", `{"action":"DELETE","data":{"name":"n2"}}`, 400, "bad_input", "the data of DELETE "+
		"must hold id")
	bad("DELETE of a node that is not there", `{"action":"DELETE","data":{"id":99}}`, 404, "unknown_node",
		"the list has no node 99")
	bad("UPDATE of a node that is not there", `{"action":"UPDATE","data":{"id":99,"name":"x","host":"h","port":1}}`, 404,
		"unknown_node", "the list has no node 99")
	bad("CREATE with an id", `{"action":"CREATE","data":{"id":2,"name":"x","host":"h","port":1}}`, 400, "bad_input",
		"a CREATE must not hold an id: the list assigns it")
	bad("CREATE with a taken name", `{"action":"CREATE","data":{"name":"N2","host":"h","port":1}}`, 409, "name_taken",
		"the name N2 is taken by node 2: choose another name, or change that node")
	bad("UPDATE to a taken name", `{"action":"UPDATE","data":{"id":2,"name":"n1","host":"h","port":1}}`, 409, "name_taken",
		"the name n1 is taken by node 1: choose another name, or change that node")
	bad("DELETE of what was changed", `{"action":"DELETE","data":{"id":2},"if_changed":1}`, 409, "conflict",
		"node n2 was changed by somebody else (change 2): read it again and repeat the edit")
	bad("an if_changed that is not a number", `{"action":"DELETE","data":{"id":2},"if_changed":"2"}`, 400, "bad_input",
		notJSON+exampleEdit)
	bad("an if_changed below 0", `{"action":"DELETE","data":{"id":2},"if_changed":-1}`, 400, "bad_input",
		notJSON+exampleEdit)
	bad("data that is too large", `{"action":"CREATE","data":{"name":"x","host":"h","port":1,"x":"`+strings.Repeat("x",
		16<<10)+`"}}`, 400, "bad_input",
		fmt.Sprintf("the data has %d bytes: at most 16384 are allowed",
			16<<10+len(`{"name":"x","host":"h","port":1,"x":""}`)))
	bad("data that would be too large with who and when",
		`{"action":"CREATE","data":{"name":"x","host":"h","port":1,"x":"`+strings.Repeat("x",
			16<<10-60)+`"}}`, 400, "bad_input", "the data has 16408 bytes: at most 16384 are allowed")
	bad("data that is not UTF-8", `{"action":"CREATE","data":{"name":"x","host":"h","port":1,"x":"`+"\xff\xfe"+`"}}`,
		400, "bad_input", notJSON+exampleEdit)
	for _, h := range []struct{ header, text string }{
		{"Idempotency-Key: " + strings.Repeat("k", 129), "the idempotency key is not usable: send 1 to 128 visible " +
			"ASCII characters"},
		{"Idempotency-Key: a b", "the idempotency key is not usable: send 1 to 128 visible ASCII characters"},
		{"Idempotency-Key: \xc3\xa4", "the idempotency key is not usable: send 1 to 128 visible ASCII characters"},
		{"Awa-Hops: many", "the header Awa-Hops must be a number"},
		{"Awa-Hops: -1", "the header Awa-Hops must be a number"},
		{"Awa-Hops: 256", "the header Awa-Hops must be a number"},
	} {
		all = append(all, BadRequest{Name: "edit, " + h.header, Raw: message("POST", wire.PathChanges,
			`{"action":"DELETE","data":{"id":2}}`, h.header), Status: 400, Code: "bad_input", Text: h.text})
	}
	circle := message("POST", wire.PathChanges, `{"action":"DELETE","data":{"id":2}}`, "Awa-Hops: 4")
	all = append(all, BadRequest{"edit, passed on in a circle", circle, 503, "no_majority",
		"the edit was passed on 4 times and found no leader: try again"})
	return all
}

// badNodes are edits whose node can't be.
func badNodes() []BadRequest {
	const (
		noName = " is not a name for a node: use 1 to 63 letters, digits, dots, dashes and underscores, a letter " +
			"or digit first"
		noLabel = " is not a name for a label: use 1 to 63 letters, digits, dots, dashes and underscores, a letter " +
			"or digit first"
		noHost = " is not a host: give a DNS name or an IP address"
		noV6   = " is not a host: an IPv6 address is written without brackets and without a port"
		noPort = " is not a port: use a number from 1 to 65535"
		noEnd  = "maintenance must be the time at which it ends, such as 2026-11-23T18:00:00Z"
	)
	var all []BadRequest
	bad := func(key, value, text string) {
		fields := `"name":"x","host":"h","port":1`
		switch key {
		case "name":
			fields = `"host":"h","port":1`
		case "host":
			fields = `"name":"x","port":1`
		case "port":
			fields = `"name":"x","host":"h"`
		}
		data := `{` + fields + `,"` + key + `":` + value + `}`
		shown := value
		if len(shown) > 100 {
			shown = fmt.Sprintf("%s… (%d bytes)", shown[:40], len(value))
		}
		all = append(all, BadRequest{Name: "node, " + key + " " + shown, Raw: message("POST", wire.PathChanges,
			`{"action":"CREATE","data":`+data+`}`), Status: 400, Code: "bad_input", Text: text})
	}
	bad("name", `""`, `""`+noName)
	bad("name", `" "`, `" "`+noName)
	bad("name", `"-a"`, `"-a"`+noName)
	bad("name", `"a b"`, `"a b"`+noName)
	bad("name", `"a/b"`, `"a/b"`+noName)
	bad("name", `"ä"`, `"ä"`+noName)
	bad("name", `"a\u0000"`, `"a\x00"`+noName)
	bad("name", `"a\n"`, `"a\n"`+noName)
	bad("name", `"<b>"`, `"<b>"`+noName)
	bad("name", `"`+strings.Repeat("n", 64)+`"`, `"`+strings.Repeat("n", 64)+`"`+noName)
	bad("name", `"`+strings.Repeat("n", 2000)+`"`, `"`+strings.Repeat("n", 80)+`…"`+noName)
	bad("name", `7`, "name must be a string")
	bad("name", `["x"]`, "name must be a string")
	bad("name", `null`, `""`+noName)
	bad("host", `""`, "the host is empty: give a DNS name or an IP address")
	bad("host", `"a b"`, `"a b"`+noHost)
	bad("host", `"a..b"`, `"a..b"`+noHost)
	bad("host", `"http://h"`, `"http://h"`+noV6)
	bad("host", `"h:80"`, `"h:80"`+noV6)
	bad("host", `"[::1]"`, `"[::1]"`+noV6)
	bad("host", `"::1%"`, `"::1%"`+noV6)
	bad("host", `":::"`, `":::"`+noV6)
	bad("host", `"-a"`, `"-a"`+noHost)
	bad("host", `"h\u0000"`, `"h\x00"`+noHost)
	bad("host", `"`+strings.Repeat("h", 64)+`"`, `"`+strings.Repeat("h", 64)+`"`+noHost)
	bad("host", `"`+strings.Repeat("h", 254)+`"`, "the host has 254 characters: at most 253 are allowed")
	bad("host", `127`, "host must be a string")
	for value, shown := range map[string]string{
		`0`: "0", `-1`: "-1", `65536`: "65536", `1.5`: "1.5", `1e3`: "1e3", `99999999999999999999`: "99999999999999999999",
		`""`: "", `"http"`: "http", `"0"`: "0", `" 80"`: " 80", `"+80"`: "+80", `"0x50"`: "0x50", `true`: "true",
		`null`: "null", `[80]`: "[80]", `{}`: "{}",
	} {
		bad("port", value, `"`+shown+`"`+noPort)
	}
	bad("uid", `"x"`, `"x" is not a uid: it is 32 hex digits`)
	bad("uid", `"`+strings.Repeat("G", 32)+`"`, `"`+strings.Repeat("G", 32)+`" is not a uid: it is 32 hex digits`)
	bad("uid", `"`+strings.Repeat("a", 33)+`"`, `"`+strings.Repeat("a", 33)+`" is not a uid: it is 32 hex digits`)
	bad("uid", `7`, "uid must be a string")
	bad("labels", `"role=db"`, "labels must be an object of strings")
	bad("labels", `["a"]`, "labels must be an object of strings")
	bad("labels", `{"a":1}`, "labels must be an object of strings")
	bad("labels", `{"a":{}}`, "labels must be an object of strings")
	bad("labels", `{"":"x"}`, `""`+noLabel)
	bad("labels", `{"a b":"x"}`, `"a b"`+noLabel)
	bad("labels", `{"a":"x\u0007"}`, "the label a holds a control character or a byte that is not UTF-8")
	bad("labels", `{"a":"x\ud800"}`, "the label a holds a control character or a byte that is not UTF-8")
	bad("labels", `{"a":"`+strings.Repeat("x", 256)+`"}`, "the label a has 256 characters: at most 255 are allowed")
	var many []string
	for i := range 65 {
		many = append(many, fmt.Sprintf(`"l%d":""`, i))
	}
	bad("labels", `{`+strings.Join(many, ",")+`}`, "65 labels are too many: at most 64 are allowed")
	bad("maintenance", `"tomorrow"`, noEnd)
	bad("maintenance", `"2026-13-01T00:00:00Z"`, noEnd)
	bad("maintenance", `7200`, "maintenance must be a string")
	bad("by", `7`, "by must be a string")
	bad("by", `"a\nb"`, "by must be at most 255 characters and no control characters")
	bad("by", `"`+strings.Repeat("x", 256)+`"`, "by must be at most 255 characters and no control characters")
	bad("at", `[]`, "at must be a string")
	for _, value := range []string{`0`, `-1`, `1.5`, `"2"`, `null`, `99999999999999999999`} {
		text := "id must be the number of a node"
		all = append(all, BadRequest{Name: "node, id " + value, Raw: message("POST", wire.PathChanges,
			`{"action":"DELETE","data":{"id":`+value+`}}`), Status: 400, Code: "bad_input", Text: text})
	}
	return all
}

// badPushes are pushes of an agent of the list, and claims of anybody else.
func badPushes() []BadRequest {
	agent := []string{"Awa-Uid: 00000000000000000000000000000000", "Awa-State: 0", "Awa-Cluster: CLUSTER",
		"Awa-History: HISTORY"}
	var all []BadRequest
	push := func(name, body string, status int, code, text string) {
		all = append(all, BadRequest{"push, " + name, message("POST", wire.PathPush, body, agent...), status, code, text})
	}
	claim := func(name, body string, status int, code, text string) {
		all = append(all, BadRequest{"claim, " + name, message("POST", wire.PathPush, body), status, code, text})
	}
	both := func(name, body string, status int, code, text string) {
		push(name, body, status, code, text)
		claim(name, body, status, code, text)
	}
	const noID = "the body holds no id of a change: send one such as " + examplePush
	node := func(id string) string {
		return `"action":"CREATE","data":"{\"id\":` + id + `,\"name\":\"x\",\"host\":\"h\",\"port\":1}"}`
	}
	const next = `"action":"CREATE","data":"{\"name\":\"x\",\"host\":\"h\",\"port\":1}"}`
	both("nothing in it", `{}`, 400, "bad_input", noID)
	both("null", `null`, 400, "bad_input", noID)
	both("no id", `{`+node("3"), 400, "bad_input", noID)
	both("id 0", `{"id":0,`+node("3"), 400, "bad_input", noID)
	both("id -1", `{"id":-1,`+node("3"), 400, "bad_input", notJSON+examplePush)
	both("id as a string", `{"id":"3",`+node("3"), 400, "bad_input", notJSON+examplePush)
	both("an absurd id", `{"id":99999999999999999999,`+node("3"), 400, "bad_input", notJSON+examplePush)
	push("the largest id", `{"id":18446744073709551615,`+node("3"), 409, "gap", "apply change 18446744073709551615: "+
		"change 18446744073709551615 does not follow state 2")
	claim("the largest id", `{"id":18446744073709551615,`+next, 409, "gap", "change 18446744073709551615 does not "+
		"follow state 2")
	push("one before it is missing", `{"id":5,`+node("3"), 409, "gap", "apply change 5: change 5 does not follow state 2")
	claim("one before it is missing", `{"id":5,`+next, 409, "gap", "change 5 does not follow state 2")
	claim("an id that is taken", `{"id":2,`+next, 409, "conflict", "change 2 was made already, and it is another one: "+
		"the state is 2, read what is new and ask for change 3")
	both("data as an object", `{"id":3,"action":"CREATE","data":{"id":3,"name":"x","host":"h","port":1}}`, 400,
		"bad_input", notJSON+examplePush)
	both("data that is not JSON", `{"id":3,"action":"CREATE","data":"x"}`, 400, "bad_input", notObject)
	both("no data", `{"id":3,"action":"CREATE"}`, 400, "bad_input", notObject)
	both("an unknown action", `{"id":3,"action":"DROP","data":"{\"id\":2}"}`, 400, "bad_input",
		`"DROP" is not an action: use CREATE, UPDATE or DELETE`)
	push("no id of a node", `{"id":3,"action":"CREATE","data":"{\"name\":\"x\",\"host\":\"h\",\"port\":1}"}`, 400,
		"bad_input", "the data of change 3 names no node id")
	claim("an id of a node", `{"id":3,`+node("3"), 400, "bad_input", "a CREATE must not hold an id: the list assigns it")
	both("a bad name", `{"id":3,"action":"CREATE","data":"{\"id\":3,\"name\":\"a b\",\"host\":\"h\",\"port\":1}"}`, 400,
		"bad_input",
		`"a b" is not a name for a node: use 1 to 63 letters, digits, dots, dashes and underscores, a letter or digit first`)
	push("a node out of turn", `{"id":3,`+node("9"), 400, "bad_input", "apply change 3: change 3 creates node 9, but "+
		"the next node is 3")
	push("a node that is not there", `{"id":3,"action":"DELETE","data":"{\"id\":99}"}`, 404, "unknown_node",
		"apply change 3: the list has no node 99")
	claim("a node that is not there", `{"id":3,"action":"DELETE","data":"{\"id\":99}"}`, 404, "unknown_node",
		"the list has no node 99")
	push("a taken name", `{"id":3,"action":"CREATE","data":"{\"id\":3,\"name\":\"n1\",\"host\":\"h\",\"port\":1}"}`, 409,
		"name_taken",
		"apply change 3: the name n1 is taken by node 1: choose another name, or change that node")
	claim("a taken name", `{"id":3,"action":"CREATE","data":"{\"name\":\"n1\",\"host\":\"h\",\"port\":1}"}`, 409,
		"name_taken",
		"the name n1 is taken by node 1: choose another name, or change that node")
	both("data that is not UTF-8", `{"id":3,"action":"CREATE","data":"{\"id\":3,\"name\":\"x\",\"host\":\"h\",\"port\":1,`+
		`\"x\":\"`+"\xff"+`\"}"}`, 400, "bad_input", notJSON+examplePush)
	return all
}

// badCallers are requests in the name of an agent that can't be one of ours.
// CLUSTER, HISTORY and OWNUID stand for the agent's own.
func badCallers() []BadRequest {
	const other = "00000000000000000000000000000000"
	var all []BadRequest
	bad := func(name string, status int, code, text string, headers ...string) {
		all = append(all,
			BadRequest{"caller of sync, " + name, message("GET", "/sync?state=0", "", headers...), status, code, text},
			BadRequest{Name: "caller of push, " + name, Raw: message("POST", wire.PathPush,
				`{"id":3,"action":"DELETE","data":"{\"id\":2}"}`, headers...), Status: status, Code: code, Text: text},
			BadRequest{Name: "caller of an edit, " + name, Raw: message("POST", wire.PathChanges,
				`{"action":"DELETE","data":{"id":2}}`, headers...), Status: status, Code: code, Text: text},
			BadRequest{Name: "caller of raft, " + name, Raw: message("POST", wire.PathRaft, "",
				append(headers, "Connection: Upgrade", "Upgrade: awa-raft/1")...), Status: status, Code: code, Text: text})
	}
	bad("no state", 400, "bad_input", "the header Awa-State must be a number", "Awa-Uid: "+other)
	bad("a state that is not a number", 400, "bad_input", "the header Awa-State must be a number", "Awa-Uid: "+other,
		"Awa-State: x")
	const tooLong = "the headers Awa-Uid, Awa-Cluster and Awa-Instance must be at most 64 characters"
	bad("a long uid", 400, "bad_input", tooLong, "Awa-Uid: "+strings.Repeat("a", 65), "Awa-State: 0")
	bad("a long cluster", 400, "bad_input", tooLong,
		"Awa-Uid: "+other, "Awa-State: 0", "Awa-Cluster: "+strings.Repeat("a", 65))
	bad("a history that is none", 400, "bad_input",
		`the header Awa-History: "x" is not a history: it looks like 1-5f3a0c21b7e94d10`,
		"Awa-Uid: "+other, "Awa-State: 0", "Awa-Cluster: "+other, "Awa-History: x")
	bad("another cluster", 409, "other_cluster",
		"agent n1 belongs to cluster CLUSTER, the caller to cluster "+other+", and two clusters never mix: to move a "+
			"server, stop its agent and start it with an empty data folder and --join",
		"Awa-Uid: "+other, "Awa-State: 0", "Awa-Cluster: "+other, "Awa-History: 1-0123456789abcdef")
	bad("another history", 409, "other_history", "agent n1 follows history HISTORY, the caller history "+
		"9-0123456789abcdef: their lists may differ",
		"Awa-Uid: "+other, "Awa-State: 0", "Awa-Cluster: CLUSTER", "Awa-History: 9-0123456789abcdef")
	raft := func(name, text string, headers ...string) {
		all = append(all, BadRequest{"raft, " + name, message("POST", wire.PathRaft, "", headers...), 400, "bad_input", text})
	}
	raft("no upgrade", "/v1/raft is for agents among themselves: it needs the header Upgrade: awa-raft/1")
	raft("another protocol", "/v1/raft is for agents among themselves: it needs the header Upgrade: awa-raft/1",
		"Connection: Upgrade", "Upgrade: websocket")
	all = append(all, BadRequest{Name: "raft, for another agent",
		Raw: message("POST", wire.PathRaft, "", "Connection: Upgrade", "Upgrade: awa-raft/1", "Awa-To: "+other,
			"Awa-Uid: "+other, "Awa-State: 0", "Awa-Cluster: CLUSTER", "Awa-History: HISTORY"),
		Status: 421, Code: "other_agent", Text: "this is the agent of node n1 with the uid OWNUID, and not the one " +
			"with the uid " + other + ": the node list has a wrong address"})
	raft("no uid", "/v1/raft is for agents among themselves: the header Awa-Uid is missing", "Connection: Upgrade",
		"Upgrade: awa-raft/1")
	return all
}
