package main

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/configs"
)

// TestEveryFieldOfTheConfigurationIsUsed: a field that is built from a key and never read means that the key
// does nothing.
func TestEveryFieldOfTheConfigurationIsUsed(t *testing.T) {
	var program strings.Builder
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		program.Write(text)
	}
	// Fields that only package configs uses: to refuse, to print and to read files again.
	itself := map[string]bool{"Config.AllowSamples": true, "Config.Apps.Webhooks.HeaderFiles": true}
	seen := 0
	var walk func(path string, of reflect.Type)
	walk = func(path string, of reflect.Type) {
		for of.Kind() == reflect.Slice || of.Kind() == reflect.Map || of.Kind() == reflect.Pointer {
			of = of.Elem()
		}
		if of.Kind() != reflect.Struct || !strings.HasSuffix(of.PkgPath(), "/configs") {
			return
		}
		for i := range of.NumField() {
			f := of.Field(i)
			if !f.IsExported() {
				continue
			}
			seen++
			if name := path + "." + f.Name; !itself[name] && !regexp.MustCompile(`\.`+f.Name+`\b`).MatchString(program.String()) {
				t.Errorf("%s.%s is read by nobody", path, f.Name)
			}
			walk(path+"."+f.Name, f.Type)
		}
	}
	walk("Config", reflect.TypeOf(configs.Config{}))
	if seen < 150 {
		t.Errorf("%d fields were looked at", seen)
	}
}
