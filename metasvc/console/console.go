// Package console is what a meta server shows to people in a browser: the pages themselves, which are embedded and load nothing
// from elsewhere, and the shape of the data that they ask for (see API.md). It knows neither the cluster's state machine nor
// sockets: package metasvc fills the data in.
package console

import (
	"embed"
	"io/fs"
	"path"

	"pegasus/netcore/httpfront"
)

//go:embed assets
var embedded embed.FS

var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

// Page returns a file of the console: name is what follows "console/" in the path, "" the page itself. ok is false when there is
// no such file.
func Page(name string) (r httpfront.Response, ok bool) {
	if name == "" {
		name = "index.html"
	}
	body, err := fs.ReadFile(embedded, path.Join("assets", name))
	if err != nil {
		return r, false
	}
	return httpfront.Response{ContentType: contentTypes[path.Ext(name)], Body: body, NoStore: true, NoFrame: true}, true
}
