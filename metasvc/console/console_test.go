package console

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"
)

func TestEvents(t *testing.T) {
	var l Log
	if list, last := l.After(0); len(list) != 0 || last != 0 {
		t.Fatalf("an empty log has %v", list)
	}
	for i := range 3 * eventsKept {
		l.Add(int64(i), "k", "t")
	}
	for _, tc := range []struct{ after, first, n uint64 }{
		{0, 3*eventsKept - eventsAtOnce + 1, eventsAtOnce},
		{3*eventsKept - 2, 3*eventsKept - 1, 2},
		{3 * eventsKept, 0, 0},
		{3*eventsKept + 5, 3*eventsKept - eventsAtOnce + 1, eventsAtOnce}, // the number is another leader's
	} {
		list, last := l.After(tc.after)
		if uint64(len(list)) != tc.n || last != 3*eventsKept || len(list) > 0 && (list[0].Seq != tc.first || list[0].At != int64(tc.first)-1) {
			t.Errorf("after %d: %d events up to %d", tc.after, len(list), last)
		}
	}
}

// The console loads nothing from elsewhere: it must work where there is no way out, and must not tell others who looks at it.
func TestNothingFromOutside(t *testing.T) {
	outside := regexp.MustCompile(`(?:src|href|from|import|url)\s*[=(]?\s*["']?(?:https?:)?//`)
	files := 0
	err := fs.WalkDir(embedded, "assets", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		b, err := fs.ReadFile(embedded, path)
		if m := outside.Find(b); m != nil {
			t.Errorf("%s has %q", path, m)
		}
		if r, ok := Page(strings.TrimPrefix(path, "assets/")); !ok || r.ContentType == "" {
			t.Errorf("%s is served as %q, %v", path, r.ContentType, ok)
		}
		return err
	})
	if err != nil || files < 5 {
		t.Errorf("%d files, %v", files, err)
	}
	if !outside.MatchString(`<script src="https://x/y.js">`) || !outside.MatchString(`import x from "//x"`) {
		t.Error("the test sees nothing")
	}
}
