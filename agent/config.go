package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-json"

	"are-we-alive/pkg/conf"
)

// BeforeResolve lets flags that are neither on the command line nor in the
// environment come from the configuration file.
func (c *runCmd) BeforeResolve(ctx *kong.Context) error {
	named := ""
	for _, f := range ctx.Flags() {
		if f.Name == "config" {
			named, _ = ctx.FlagValue(f).(string)
		}
	}
	path, fields, err := readConfig(named)
	if err != nil || fields == nil {
		return err
	}
	values := map[string]any{} // by the flag's name
	known := map[string]bool{}
	for _, f := range ctx.Flags() {
		key := configKey(f)
		if key == "" {
			continue
		}
		known[key] = true
		if value, ok := fields[key]; ok {
			if values[f.Name], err = configValue(f, value); err != nil {
				return fmt.Errorf("%s: %s %w", path, key, err)
			}
		}
	}
	c.unknown = unknownKeys(path, fields, known)
	ctx.AddResolver(kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, f *kong.Flag) (any, error) {
		value, ok := values[f.Name]
		if !ok || inEnvironment(f) {
			return nil, nil
		}
		return value, nil
	}))
	return nil
}

func inEnvironment(f *kong.Flag) bool {
	for _, name := range f.Envs {
		if _, ok := os.LookupEnv(name); ok {
			return true
		}
	}
	return false
}

// configKey is a flag's key in the file, "" for none.
func configKey(f *kong.Flag) string {
	switch f.Name {
	case "config", "help", "version":
		return ""
	case "label":
		return "labels"
	}
	return strings.ReplaceAll(f.Name, "-", "_")
}

// unknownKey is a key of the file that no flag has.
type unknownKey struct{ file, key, nearest string }

// unknownKeys returns those of a file. They are passed over, since the original program's
// files may hold some. One that begins with # is a comment.
func unknownKeys(file string, fields map[string]json.RawMessage, known map[string]bool) (all []unknownKey) {
	words := slices.Sorted(maps.Keys(known))
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if !known[key] && !strings.HasPrefix(key, "#") {
			all = append(all, unknownKey{file, key, conf.Nearest(key, words)})
		}
	}
	return all
}

// warn logs it.
func (k unknownKey) warn(log *slog.Logger) {
	log = log.With("file", k.file, "key", k.key)
	if k.nearest != "" {
		log = log.With("nearest", k.nearest)
	}
	log.Warn("a key of the configuration is not known, and is ignored")
}

// configExample is a configuration file.
const configExample = `{"my_name": "web1", "my_host": "10.0.0.1", "my_port": "25483"}`

// readConfig reads the named file, or the first one found; none is not an error
// unless it was named.
func readConfig(named string) (path string, fields map[string]json.RawMessage, err error) {
	paths := conf.AgentFiles()
	if named != "" {
		paths = []string{named}
	}
	for _, path = range paths {
		fields, err = conf.Read(path, configExample)
		if errors.Is(err, fs.ErrNotExist) && named == "" {
			continue
		}
		return path, fields, err
	}
	return "", nil, nil
}

// configValue turns a value of the file into what the flag would be given on
// the command line.
func configValue(f *kong.Flag, value json.RawMessage) (any, error) {
	var v any
	if err := json.Unmarshal(value, &v); err != nil {
		return "", errors.New("can't be read")
	}
	switch v := v.(type) {
	case bool:
		if f.Target.Kind() == reflect.Bool {
			return fmt.Sprint(v), nil
		}
	case string:
		if f.Target.Kind() != reflect.Bool {
			return v, nil
		}
	case float64:
		if f.Name == "my-port" {
			return string(value), nil
		}
	case map[string]any:
		all := f.Target.Kind() == reflect.Map
		for _, e := range v {
			_, ok := e.(string)
			all = all && ok
		}
		if all {
			return v, nil
		}
	case []any:
		parts := make([]string, len(v))
		all := f.Target.Kind() == reflect.Slice
		for i, e := range v {
			s, ok := e.(string)
			parts[i], all = s, all && ok
		}
		if all {
			return strings.Join(parts, ","), nil
		}
	}
	return "", fmt.Errorf("must be %s, not %s", keyType(f), value)
}

// keyType says what the value of a flag's key may be.
func keyType(f *kong.Flag) string {
	switch {
	case f.Target.Kind() == reflect.Bool:
		return "true or false"
	case f.Target.Kind() == reflect.Slice:
		return "a string or an array of strings"
	case f.Target.Kind() == reflect.Map:
		return "an object of strings"
	case f.Name == "my-port":
		return "a number or a string"
	}
	return "a string"
}
