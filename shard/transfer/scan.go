package transfer

import (
	"context"
	"errors"
	"fmt"
	"path"

	"pegasus/netcore/disk"
)

// scan reads the directory that is offered and makes the file list of its manifest, in the order of names.
func scan(ctx context.Context, o *Options, dir string) ([]FileInfo, error) {
	names, err := o.FS.List(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSource, err)
	}
	if len(names) > MaxFiles {
		return nil, refused("%d files in %s", len(names), dir)
	}
	files := make([]FileInfo, 0, len(names))
	buf := make([]byte, BlockSize)
	for _, name := range names {
		if err := checkName(name); err != nil {
			return nil, err
		}
		st, err := o.FS.Stat(path.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSource, err)
		}
		if st.Dir {
			return nil, refused("%s is a directory", path.Join(dir, name))
		}
		f := FileInfo{Name: name}
		if err := f.read(ctx, o, path.Join(dir, name), buf); err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// read fills in size and sums.
func (f *FileInfo) read(ctx context.Context, o *Options, name string, buf []byte) (err error) {
	file, err := o.FS.Open(name)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSource, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if f.Size, err = file.Size(); err != nil {
		return fmt.Errorf("%w: %w", ErrSource, err)
	}
	if f.Size > MaxBytes {
		return refused("%s has %d bytes", name, f.Size)
	}
	for b := range blocksIn(f.Size) {
		p := buf[:f.blockLen(int(b))]
		if err := o.Budget.hashed.take(ctx, len(p)); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := disk.Fill(file, p, b*BlockSize); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrSource, name, err)
		}
		f.Blocks = append(f.Blocks, sumOf(p))
	}
	f.Sum = wholeSum(f.Size, f.Blocks)
	return nil
}
