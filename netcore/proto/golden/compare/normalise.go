package compare

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// expireEpoch is the unix time at which Pegasus' expire_ts counting starts, 2016-01-01 UTC.
const expireEpoch = 1451606400

// smallestStamp tells an expire_ts from a count of seconds in responses.
const smallestStamp = 1e6

// Names is what a replay knows of the cluster that answered.
type Names interface {
	// AppLabel returns the label of an app id, "" when the id belongs to no known table.
	AppLabel(id int32) string
	// Address returns "$replica" or "$meta" when text is the address of such a server, else "".
	Address(text string) string
}

// Normalise rewrites a decoded response in place into what does not depend on the cluster and the day. now is the time
// at which the request was sent.
func Normalise(resp map[string]any, now time.Time, names Names) {
	n := normaliser{now: now.Unix(), names: names}
	for _, part := range []string{"body", "header"} {
		if v, ok := resp[part]; ok {
			resp[part] = n.walk(part, v)
		}
	}
}

type normaliser struct {
	now   int64
	names Names
}

func (n *normaliser) walk(key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = n.walk(k, e)
		}
	case []any:
		for i, e := range v {
			v[i] = n.walk("", e)
		}
	case string:
		if a := n.names.Address(v); a != "" {
			return a
		}
	case json.Number:
		return n.number(key, v)
	}
	return v
}

func (n *normaliser) number(key string, v json.Number) any {
	i, err := v.Int64()
	if err != nil {
		return v
	}
	switch key {
	case "app_id", "appid":
		if label := n.names.AppLabel(int32(i)); label != "" {
			return "$app:" + label
		}
	case "context_id":
		if i != 0 && i != -1 {
			return "handle"
		}
	case "expire_ts_seconds":
		if i > smallestStamp {
			return fmt.Sprintf("%s%+d", nowPrefix, i+expireEpoch-n.now)
		}
	case "create_second", "drop_second", "expire_second":
		if i > smallestStamp {
			return fmt.Sprintf("%s%+d", unixPrefix, i-n.now)
		}
	}
	return v
}

const (
	nowPrefix  = "now"
	unixPrefix = "unix_now"
)

// relative parses "now+5" or "unix_now-3".
func relative(v any) (kind string, delta int64, ok bool) {
	s, isString := v.(string)
	if !isString {
		return "", 0, false
	}
	for _, p := range []string{nowPrefix, unixPrefix} {
		if rest, found := strings.CutPrefix(s, p); found {
			if _, err := fmt.Sscanf(rest, "%d", &delta); err == nil {
				return p, delta, true
			}
		}
	}
	return "", 0, false
}
