package console

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"
)

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
