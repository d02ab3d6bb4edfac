package shell

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"pegasus/clientlib/admin"
	"pegasus/clientlib/shell/report"
)

// What admin-cli asks the HTTP pages of servers for (spec tools 4): configuration, and layout of the data.

// maxPage bounds an answer.
const maxPage = 256 << 20

// errNoPage is a server of a version that does not have a page.
var errNoPage = errors.New("server has no such page")

// fetchPage reads a page of a server. What is no 200 is an error with its text.
func fetchPage(ctx context.Context, address, path string, query url.Values) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPage))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("%w: %s%s: %s", errNoPage, address, path, strings.TrimSpace(string(body)))
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s%s answered %s: %s", address, path, resp.Status, strings.TrimSpace(string(body)))
	}
	return body, nil
}

// configKey is a key of a server's configuration. Tags are a list here and one text in Apache Pegasus.
type configKey struct {
	Name    string `json:"name"`
	Section string `json:"section"`
	Type    string `json:"type"`
	Value   string `json:"value"`
	Tags    any    `json:"tags"`
}

func (k *configKey) mutable() bool {
	return strings.Contains(strings.ToLower(fmt.Sprint(k.Tags)), "mutable")
}

func (s *Shell) serverConfigCommand() *cobra.Command {
	var node string
	const use = "server_config <meta|replica> <list|name> [get|set] [value]"
	cmd := s.command(groupNodes, use, "the configuration of servers; set changes a key that may be changed while they run, until they end",
		func(c *call, args []string) error {
			t := targets{kind: args[0] + "-server", list: node}
			if args[0] != "meta" && args[0] != "replica" {
				return usagef("%q: want meta or replica", args[0])
			}
			metas, replicas, err := c.find(&t)
			if err != nil {
				return err
			}
			servers := slices.Concat(metas, replicas)
			switch rest := args[1:]; {
			case len(rest) == 1 && rest[0] == "list":
				return c.listConfig(servers, "")
			case len(rest) == 1, len(rest) == 2 && rest[1] == "get":
				return c.listConfig(servers, rest[0])
			case len(rest) == 3 && rest[1] == "set":
				return c.setConfig(servers, rest[0], rest[2])
			}
			return usagef("usage: %s", use)
		})
	s.nodeFlag(cmd, &node, "this server only", false)
	cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		words := [][]string{{"meta", "replica"}, {"list"}, {"get", "set"}}
		if len(args) >= len(words) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return words[len(args)], cobra.ShellCompDirectiveNoFileComp
	}
	return cmd
}

// pageAnswer is what a server said.
type pageAnswer struct {
	body []byte
	err  error
}

func (c *call) pages(servers []string, path string, query url.Values) []pageAnswer {
	ctx, cancel := c.withTimeout()
	defer cancel()
	return each(servers, func(server string) pageAnswer {
		body, err := fetchPage(ctx, server, path, query)
		return pageAnswer{body, err}
	})
}

// listConfig prints all keys of the servers, or one.
func (c *call) listConfig(servers []string, name string) error {
	path, query := "/configs", url.Values{}
	if name != "" {
		path, query = "/config", url.Values{"name": {name}}
	}
	var d report.Doc
	var failed error
	t := d.Table("configuration", "server", "name", "value", "mutable")
	for i, answer := range c.pages(servers, path, query) {
		keys := map[string]configKey{}
		err := answer.err
		switch {
		case err != nil:
		case name == "":
			err = json.Unmarshal(answer.body, &keys)
		default:
			var k configKey
			if err = json.Unmarshal(answer.body, &k); err != nil {
				err = errors.New(strings.TrimSpace(string(answer.body))) // it says why not
			}
			keys[name] = k
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", servers[i], err))
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(keys)) {
			k := keys[name]
			t.Row(servers[i], name, k.Value, k.mutable())
		}
	}
	return c.printPartly(&d, failed, len(servers))
}

// printPartly prints what some servers have answered. What the others failed with comes behind it, or in place of it when none has.
func (c *call) printPartly(d *report.Doc, failed error, servers int) error {
	if many, ok := failed.(interface{ Unwrap() []error }); ok && len(many.Unwrap()) == servers {
		return failed
	}
	return errors.Join(c.print(d), failed)
}

func (c *call) setConfig(servers []string, name, value string) error {
	var d report.Doc
	t := d.Table("configuration", "server", "name", "value", "status")
	failed := false
	for i, answer := range c.pages(servers, "/updateConfig", url.Values{name: {value}}) {
		var said struct {
			Status string `json:"update_status"`
		}
		err := answer.err
		if err == nil {
			err = json.Unmarshal(answer.body, &said)
		}
		if err != nil {
			said.Status = err.Error()
		}
		mark := report.Good(said.Status)
		if said.Status != "ERR_OK" {
			mark, failed = report.Bad(said.Status), true
		}
		t.Row(servers[i], name, value, mark)
	}
	if err := c.print(&d); err != nil || !failed {
		return err
	}
	return errNotAll
}

// dataVersionCommand asks the primaries; others may not have opened a partition yet.
func (s *Shell) dataVersionCommand() *cobra.Command {
	return s.command(groupTables, "data_version", "the layout of the values of the table in use, by partition", func(c *call, _ []string) error {
		return c.ask(func(ctx context.Context, a admin.Admin) error {
			cfg, err := c.configured(ctx, a)
			if err != nil {
				return err
			}
			var primaries []string
			for i := range cfg.Partitions {
				if p := primaryOf(&cfg.Partitions[i]); p != "" && !slices.Contains(primaries, p) {
					primaries = append(primaries, p)
				}
			}
			versions := map[string]map[string]string{}
			var failed error
			for i, answer := range c.pages(primaries, "/replica/data_version", url.Values{"app_id": {strconv.Itoa(int(cfg.AppID))}}) {
				var parts map[string]struct {
					Version string `json:"data_version"`
				}
				err := answer.err
				if err == nil {
					err = json.Unmarshal(answer.body, &parts)
				}
				if err != nil {
					failed = errors.Join(failed, fmt.Errorf("%s: %w", primaries[i], err))
				}
				versions[primaries[i]] = map[string]string{}
				for pidx, v := range parts {
					versions[primaries[i]][pidx] = v.Version
				}
			}
			var d report.Doc
			t := d.Table("data_version", "pidx", "primary", "data_version")
			for i := range cfg.Partitions {
				p := primaryOf(&cfg.Partitions[i])
				t.Row(i, orNil(p), orNil(versions[p][strconv.Itoa(i)]))
			}
			return errors.Join(c.print(&d), failed)
		})
	})
}
