package conf

import (
	"fmt"
	"os"
	"path/filepath"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Logging says what a daemon logs and where to.
type Logging struct {
	Level  string `toml:"level" allow:"debug|info|warn|error"`
	File   string `toml:"file" allow:"path?"`
	Format string `toml:"format" allow:"text|json"`
}

func defaultLogging() Logging { return Logging{Level: "info", Format: "text"} }

// Open returns the logger that l describes and a function that flushes and closes it. Without a file it writes to
// standard error. A file is appended to; its folder is made.
func (l Logging) Open() (*zap.Logger, func(), error) {
	level, err := zapcore.ParseLevel(l.Level)
	if err != nil {
		return nil, nil, fmt.Errorf("logging.level: %w", err)
	}
	out := os.Stderr
	if l.File != "" {
		if err := os.MkdirAll(filepath.Dir(l.File), 0o755); err != nil {
			return nil, nil, fmt.Errorf("logging.file: %w", err)
		}
		if out, err = os.OpenFile(l.File, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
			return nil, nil, fmt.Errorf("logging.file: %w", err)
		}
	}
	format := zap.NewProductionEncoderConfig()
	format.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	encoder := zapcore.NewJSONEncoder(format)
	if l.Format == "text" {
		format.EncodeTime = zapcore.ISO8601TimeEncoder
		format.EncodeLevel = zapcore.CapitalLevelEncoder
		encoder = zapcore.NewConsoleEncoder(format)
	}
	log := zap.New(zapcore.NewCore(encoder, zapcore.Lock(out), level), zap.AddCaller(), zap.AddStacktrace(zapcore.DPanicLevel))
	return log, func() {
		// A terminal or a pipe cannot be synced; that is not worth a word at exit.
		_ = log.Sync()
		if out != os.Stderr {
			_ = out.Close()
		}
	}, nil
}
