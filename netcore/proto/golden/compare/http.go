package compare

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"

	"pegasus/netcore/proto/golden"
)

var (
	intKey  = regexp.MustCompile(`^\d+$`)
	gpidKey = regexp.MustCompile(`^\d+\.\d+$`)
)

// HTTP turns a response into the form of golden.Step.Response and closes its body. The names of servers in the text
// are not normalised: recordings whose text holds any have it volatile.
func HTTP(resp *http.Response, names Names) (map[string]any, error) {
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return nil, err
	}
	headers := []string{}
	for name := range resp.Header {
		if name != "Content-Length" && name != "Date" {
			headers = append(headers, name)
		}
	}
	slices.Sort(headers)
	list := make([]any, len(headers))
	for i, h := range headers {
		list[i] = h
	}
	out := map[string]any{
		"outcome":      string(golden.OutcomeReply),
		"status":       number(int64(resp.StatusCode)),
		"content_type": resp.Header.Get("Content-Type"),
		"headers":      list,
		"text":         cut(text),
	}
	if l := resp.Header.Get("Location"); l != "" {
		out["location"] = l
	}
	if s, ok := shape(text, names); ok {
		out["shape"] = s
	}
	return out, nil
}

// maxText is where the recordings cut a text, in bytes.
const maxText = 1500

func cut(text []byte) string {
	if len(text) <= maxText {
		return string(text)
	}
	return fmt.Sprintf("%s...(%d bytes)", text[:maxText], len(text))
}

// shape is the skeleton of a JSON text: leaf values are replaced by their type, a list by its first element.
func shape(text []byte, names Names) (any, bool) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil || dec.More() {
		return nil, false
	}
	return skeleton(v, names), true
}

func skeleton(v any, names Names) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			switch {
			case intKey.MatchString(k):
				k = "<int>"
			case gpidKey.MatchString(k):
				k = "<gpid>"
			case names.Address(k) != "":
				k = names.Address(k)
			}
			out[k] = skeleton(e, names)
		}
		return out
	case []any:
		if len(v) == 0 {
			return []any{}
		}
		return []any{skeleton(v[0], names)}
	case string:
		return "string"
	case json.Number:
		return "number"
	case bool:
		return "bool"
	}
	return "null"
}
