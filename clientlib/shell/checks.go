package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"pegasus/clientlib"
	"pegasus/clientlib/shell/words"
	"pegasus/netcore/proto"
)

// checkCommands write when a condition holds.
func (s *Shell) checkCommands() []*cobra.Command {
	return []*cobra.Command{s.checkAndSetCommand(), s.checkAndMutateCommand()}
}

// condition is what must hold, as its options say.
type condition struct {
	sortKey, kind, operand string
	returnValue            bool
}

func (k *condition) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&k.sortKey, "check_sort_key", "c", "", "sort key of the record to check")
	f.StringVarP(&k.kind, "check_type", "t", "", "what must hold: "+strings.Join(proto.CheckTypeNames(), ", "))
	f.StringVarP(&k.operand, "check_operand", "o", "", "what the value is compared with")
	f.BoolVarP(&k.returnValue, "return_check_value", "r", false, "show the value that was checked")
	needs(cmd, "check_type")
	flagWords(cmd, "check_type", choice(proto.CheckTypeNames()...))
}

func (k *condition) parse(c *call) (checked, operand []byte, kind clientlib.CheckType, err error) {
	wire, ok := proto.ParseCheckType(k.kind)
	if !ok {
		return nil, nil, 0, usagef("check type %q: want one of %s", k.kind, strings.Join(proto.CheckTypeNames(), ", "))
	}
	b, err := c.allBytes([]string{k.sortKey, k.operand}, 1, sortKey, value)
	if err != nil {
		return nil, nil, 0, err
	}
	return b[0], b[1], clientlib.CheckType(wire), nil
}

// errCheck is a condition that did not hold.
var errCheck = errors.New("the condition does not hold, nothing was written")

// checked prints what a check found.
func (c *call) checked(r *clientlib.CheckAndSetResult) error {
	text := "OK"
	fields := []any{"done", r.SetSucceed}
	var failed error
	if !r.SetSucceed {
		text, failed = "not written, the condition does not hold", quietError{errCheck}
	}
	switch {
	case r.CheckValueReturned && r.CheckValueExist:
		text += "; the value was " + c.quoted(value, r.CheckValue)
		fields = append(fields, "check_value", c.shown(value, r.CheckValue))
	case r.CheckValueReturned:
		text += "; there was no value"
		fields = append(fields, "check_value", nil)
	}
	return errors.Join(c.out.Object(text, fields...), failed)
}

func (s *Shell) checkAndSetCommand() *cobra.Command {
	var k condition
	var setKey, setValue string
	var ttl int
	cmd := s.command(groupData, "check_and_set <hash_key>", "write a record if another fulfils a condition",
		func(c *call, args []string) error {
			check, operand, kind, err := k.parse(c)
			if err != nil {
				return err
			}
			b, err := c.allBytes([]string{args[0], setKey, setValue}, 1, hashKey, sortKey, value)
			if err != nil {
				return err
			}
			if ttl < 0 {
				return usagef("set_value_ttl_seconds %d: want 0 or more", ttl)
			}
			return c.onTable(func(ctx context.Context, t *clientlib.Table) error {
				r, err := t.CheckAndSet(ctx, b[0], check, kind, operand, b[1], b[2],
					&clientlib.CheckAndSetOptions{SetValueTTLSeconds: ttl, ReturnCheckValue: k.returnValue})
				if err != nil {
					return err
				}
				return c.checked(r)
			})
		})
	k.flags(cmd)
	f := cmd.Flags()
	f.StringVarP(&setKey, "set_sort_key", "s", "", "sort key of the record to write")
	f.StringVarP(&setValue, "set_value", "v", "", "its value")
	f.IntVarP(&ttl, "set_value_ttl_seconds", "l", 0, "how long it lives, 0 for ever")
	return cmd
}

func (s *Shell) checkAndMutateCommand() *cobra.Command {
	var k condition
	var mutations []string
	cmd := s.command(groupData, "check_and_mutate <hash_key>", "write and remove records if another fulfils a condition",
		func(c *call, args []string) error {
			check, operand, kind, err := k.parse(c)
			if err != nil {
				return err
			}
			h, err := c.bytes(hashKey, args[0])
			if err != nil {
				return err
			}
			if len(mutations) == 0 {
				if mutations, err = c.askMutations(); err != nil {
					return err
				}
			}
			var list []clientlib.Mutation
			for _, m := range mutations {
				one, err := c.mutation(m)
				if err != nil {
					return err
				}
				list = append(list, one)
			}
			return c.onTable(func(ctx context.Context, t *clientlib.Table) error {
				r, err := t.CheckAndMutate(ctx, h, check, kind, operand, list, &clientlib.CheckAndMutateOptions{ReturnCheckValue: k.returnValue})
				if err != nil {
					return err
				}
				return c.checked(&clientlib.CheckAndSetResult{SetSucceed: r.MutateSucceed, CheckValue: r.CheckValue,
					CheckValueExist: r.CheckValueExist, CheckValueReturned: r.CheckValueReturned})
			})
		})
	k.flags(cmd)
	cmd.Flags().StringArrayVarP(&mutations, "mutation", "m", nil, `"set SORT_KEY VALUE [TTL]" or "del SORT_KEY"; several in order. Without, they are asked for`)
	return cmd
}

// mutation reads "set SORT_KEY VALUE [TTL]" or "del SORT_KEY".
func (c *call) mutation(text string) (m clientlib.Mutation, err error) {
	w, err := words.Split(text)
	if err != nil {
		return m, usagef("mutation %q: %v", text, err)
	}
	switch {
	case len(w) == 2 && w[0] == "del":
		m.Del = true
		m.SortKey, err = c.bytes(sortKey, w[1])
		return m, err
	case (len(w) == 3 || len(w) == 4) && w[0] == "set":
		b, err := c.allBytes(w[1:3], 1, sortKey, value)
		if err != nil {
			return m, err
		}
		m = clientlib.Mutation{SortKey: b[0], Value: b[1]}
		if len(w) == 4 {
			m.TTL, err = seconds(w[3])
			return m, err
		}
		return m, nil
	}
	return m, usagef(`mutation %q: want "set SORT_KEY VALUE [TTL]" or "del SORT_KEY"`, text)
}

// askMutations reads mutations, one a line, until "ok"; "abort" gives up.
func (c *call) askMutations() ([]string, error) {
	if !c.opt.Terminal {
		return nil, usagef("no mutation: give --mutation")
	}
	fmt.Fprintln(c.opt.Err, `One mutation a line: set SORT_KEY VALUE [TTL], del SORT_KEY; then ok, or abort.`)
	var out []string
	for {
		line, err := c.asker.line()
		line = strings.TrimSpace(line)
		switch {
		case line == "ok":
			return out, nil
		case line == "abort", errors.Is(err, io.EOF):
			return nil, errDeclined
		case err != nil:
			return nil, err
		case line == "":
			continue
		}
		if _, err := c.mutation(line); err != nil {
			fmt.Fprintln(c.opt.Err, err)
			continue
		}
		out = append(out, line)
	}
}
