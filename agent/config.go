package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-json"

	"are-we-alive/pkg/awa"
)

// configFiles are searched in turn when --config names none.
var configFiles = [...]string{awa.ConfigName, awa.ConfigFile}

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
	values := map[string]string{} // by the flag's name
	for _, f := range ctx.Flags() {
		key := strings.ReplaceAll(f.Name, "-", "_")
		value, ok := fields[key]
		if !ok || f.Name == "config" {
			continue
		}
		if values[f.Name], err = configValue(f, value); err != nil {
			return fmt.Errorf("%s: %s %w", path, key, err)
		}
	}
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

// maxConfig is the most bytes of a configuration file: thousands of times what
// all flags need.
const maxConfig = 1 << 20

// readConfig reads the named file, or the first one found; none is not an error
// unless it was named. Keys that no flag has are passed over, since the
// original program's files may hold some.
func readConfig(named string) (path string, fields map[string]json.RawMessage, err error) {
	paths := configFiles[:]
	if named != "" {
		paths = []string{named}
	}
	for _, path = range paths {
		b, err := awa.ReadFile(path, maxConfig, nil)
		if errors.Is(err, fs.ErrNotExist) && named == "" {
			continue
		}
		if err != nil {
			return path, nil, fmt.Errorf("the configuration can't be read: %w", err)
		}
		if json.Unmarshal(b, &fields) != nil || fields == nil {
			return path, nil, fmt.Errorf("%s is not a JSON object: it looks like {\"my_name\": \"web1\", \"my_host\": "+
				"\"10.0.0.1\", \"my_port\": \"25483\"}", path)
		}
		return path, fields, nil
	}
	return "", nil, nil
}

// configValue turns a value of the file into what the flag would be given on
// the command line.
func configValue(f *kong.Flag, value json.RawMessage) (string, error) {
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
	case f.Name == "my-port":
		return "a number or a string"
	}
	return "a string"
}
