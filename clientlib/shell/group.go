package shell

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"pegasus/clientlib/admin"
	"pegasus/clientlib/shell/report"
)

// groupCommands are about the meta group itself.
func (s *Shell) groupCommands() []*cobra.Command {
	members := s.command(groupCluster, "meta_members", "the members of the meta group", func(c *call, _ []string) error {
		return c.ask(func(ctx context.Context, a admin.Admin) error {
			list, err := a.MetaMembers(ctx)
			if err != nil {
				return err
			}
			var d report.Doc
			t := d.Table("meta_members", "address", "raft", "leader")
			for _, m := range list {
				t.Row(m.Address, m.Raft, m.Leader)
			}
			return c.print(&d)
		})
	})
	add := s.command(groupCluster, "meta_add <address> <raft_address>", "take a meta server that waits to join into the group",
		func(c *call, args []string) error {
			return c.ask(func(ctx context.Context, a admin.Admin) error {
				if err := a.AddMeta(ctx, args[0], args[1]); err != nil {
					return err
				}
				return c.done("%s is a member", args[0])
			})
		})
	remove := s.command(groupCluster, "meta_remove <address>", "exclude a member from the meta group", func(c *call, args []string) error {
		if err := c.confirm(fmt.Sprintf("Meta server %s will be no member any more.", args[0])); err != nil {
			return err
		}
		return c.ask(func(ctx context.Context, a admin.Admin) error {
			if err := a.RemoveMeta(ctx, args[0]); err != nil {
				return err
			}
			return c.done("%s is no member any more", args[0])
		})
	})
	backup := s.command(groupCluster, "meta_backup [name]", "write the state of the cluster into a file on the meta leader",
		func(c *call, args []string) error {
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			return c.ask(func(ctx context.Context, a admin.Admin) error {
				file, err := a.BackupMeta(ctx, name)
				if err != nil {
					return err
				}
				return c.out.Object("written into "+file, "file", file)
			})
		})
	return []*cobra.Command{note(members, noteWatch), add, note(remove, noteDanger), backup}
}
