package metasvc

import (
	"fmt"
	"hash/maphash"
	"time"

	"github.com/bytedance/sonic"

	"pegasus/metasvc/console"
	"pegasus/netcore/httpfront"
)

// Answers of the API are made once for all who look, and not at all for those who have them already: an answer names itself by a
// hash of what it says, and who asks with that name is told in a hundred bytes that it is still so.

const (
	// An answer looks at every partition, at worst. It is made again when it is as old as answerAge and as answerShare times what it
	// took to make: however large the cluster and however many look at it, that is the share of the loop that it costs.
	answerAge   = time.Second
	answerShare = 50
	// maxAnswers bounds those that are kept: the overview, the map, and one for every table and node that somebody looks at.
	maxAnswers = 64
)

// answerCache has answers by the names of their requests. Only a leader has some.
type answerCache map[string]*answer

type answer struct {
	body []byte // the fields of a JSON object, and its last brace
	etag string
	at   int64 // loop time; and how long it took
	cost int64
}

var etagSeed = maphash.MakeSeed() // other processes have other names for the same

// answer returns what look says, or said a moment ago. ok is false when look had nothing to say.
func (w *watcher) answer(name string, look func() (any, bool)) (a *answer, ok bool, err error) {
	began := w.s.loop.ReadClock()
	if a = w.cache[name]; a != nil && began-a.at <= max(int64(answerAge), answerShare*a.cost) {
		return a, true, nil
	}
	delete(w.cache, name)
	v, ok := look()
	if !ok {
		return nil, false, nil
	}
	body, err := sonic.ConfigStd.Marshal(v)
	if err != nil {
		return nil, true, err
	}
	if len(w.cache) >= maxAnswers {
		clear(w.cache)
	}
	a = &answer{body: body[1:], etag: fmt.Sprintf("%x", maphash.Bytes(etagSeed, body)), at: began, cost: w.s.loop.ReadClock() - began}
	w.cache[name] = a
	return a, true, nil
}

// page is the answer for one who knows it by etag, or does not. more are fields that are not part of what the etag names; without
// them somebody who knows the answer learns nothing new.
func (a *answer) page(etag string, now int64, more *console.News) httpfront.Response {
	if etag == a.etag && (more == nil || len(more.Events) == 0) {
		return httpfront.Response{Status: 204}
	}
	head, err := sonic.ConfigStd.Marshal(console.Head{Etag: a.etag, Now: now, News: more})
	if err != nil {
		return httpfront.Text(500, err.Error())
	}
	body := make([]byte, 0, len(head)+len(a.body))
	body = append(append(body, head[:len(head)-1]...), ',')
	return httpfront.Response{ContentType: "application/json", Body: append(body, a.body...)}
}
