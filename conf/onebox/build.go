package onebox

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

var programs = []string{"pegasus-meta", "pegasus-replica"}

func haveBinaries(bin string) error {
	for _, p := range programs {
		path := filepath.Join(bin, p)
		if st, err := os.Stat(path); err != nil || st.IsDir() {
			return fmt.Errorf("onebox: there is no program %s: run `make build` first", path)
		}
	}
	return nil
}

// Build brings the daemons in the bin folder of this module up to date and returns the folder. The go command does
// nothing when they are; a lock keeps test packages that run side by side from replacing what the other one starts.
func Build() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "pegasus").Output()
	if err != nil {
		return "", fmt.Errorf("onebox: find the module: %w", err)
	}
	root := strings.TrimSpace(string(out))
	bin := filepath.Join(root, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", err
	}
	lock, err := os.Open(bin)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", fmt.Errorf("onebox: lock %s: %w", bin, err)
	}
	build := exec.Command("go", "build", "-o", bin+"/", "./metasvc/pegasus-meta", "./shard/pegasus-replica")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("onebox: build the daemons: %w\n%s", err, out)
	}
	return bin, nil
}
