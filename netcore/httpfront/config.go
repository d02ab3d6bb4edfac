package httpfront

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// Config shows the effective configuration of a daemon in the pages that Apache Pegasus has for its flags: /config, /configs and
// /updateConfig (spec tools 4). A key is named with its section, as in "limits.max_write".
type Config struct {
	keys map[string]configKey
	// mutable are the keys that can be changed while the daemon runs, with what takes a new value; its error is shown.
	mutable map[string]func(value string) error
}

type configKey struct {
	Name    string   `json:"name"`
	Section string   `json:"section"`
	Type    string   `json:"type"`
	Value   string   `json:"value"`
	Tags    []string `json:"tags"`
}

// NewConfig reads the configuration from its TOML text. What does not parse shows as empty: it is the daemon's own text.
func NewConfig(text string, mutable map[string]func(value string) error) *Config {
	c := &Config{keys: map[string]configKey{}, mutable: mutable}
	var tree map[string]any
	if _, err := toml.Decode(text, &tree); err == nil {
		c.add("", tree)
	}
	return c
}

func (c *Config) add(section string, tree map[string]any) {
	for name, v := range tree {
		full := name
		if section != "" {
			full = section + "." + name
		}
		if sub, ok := v.(map[string]any); ok {
			c.add(full, sub)
			continue
		}
		k := configKey{Name: full, Section: section, Type: "string", Tags: []string{}}
		switch v := v.(type) {
		case string:
			k.Value = v
		case bool:
			k.Type, k.Value = "bool", fmt.Sprint(v)
		case int64:
			k.Type, k.Value = "int64", fmt.Sprint(v)
		default:
			b, err := json.Marshal(v)
			k.Type, k.Value = "list", string(b)
			if err != nil {
				k.Value = fmt.Sprint(v)
			}
		}
		if c.mutable[full] != nil {
			k.Tags = append(k.Tags, "mutable")
		}
		c.keys[full] = k
	}
}

// One answers /config?name=KEY.
func (c *Config) One(args url.Values) Response {
	for name := range args {
		if name != "name" {
			return Response{Status: 400}
		}
	}
	name := args.Get("name")
	k, ok := c.keys[name]
	switch {
	case name == "":
		return Text(400, "name shouldn't be empty")
	case !ok:
		return Text(200, fmt.Sprintf("ERR_OBJECT_NOT_FOUND: '%s' is not found", name))
	}
	return configJSON(k)
}

// All answers /configs.
func (c *Config) All() Response { return configJSON(c.keys) }

// Update answers /updateConfig?KEY=VALUE. The change lasts until the daemon ends. It belongs to one goroutine at a time, as do the
// other pages then.
func (c *Config) Update(args url.Values) Response {
	status := func(format string, a ...any) Response {
		return configJSON(map[string]string{"update_status": fmt.Sprintf(format, a...)})
	}
	if len(args) != 1 {
		return status("ERR_INVALID_PARAMETERS: there should be exactly one config to be updated once")
	}
	name := slices.Collect(maps.Keys(args))[0]
	k, known := c.keys[name]
	set := c.mutable[name]
	switch {
	case !known:
		return status("ERR_OBJECT_NOT_FOUND: %s is not found", name)
	case set == nil:
		return status("ERR_INVALID_PARAMETERS: %s is not mutable", name)
	}
	value := strings.TrimSpace(args.Get(name))
	if err := set(value); err != nil {
		return status("ERR_INVALID_PARAMETERS: %v", err)
	}
	k.Value = value
	c.keys[name] = k
	return status("ERR_OK")
}

func configJSON(v any) Response {
	body, err := json.Marshal(v)
	if err != nil {
		return Text(500, err.Error())
	}
	return Response{Body: append(body, '\n')}
}
