package checkpoint

import "strings"

// ourName is the name that dither has for a tensor of others' ResNets; false for what it does not keep (BatchNorm's count of batches).
// DataParallel's "module." and the compiler's "_orig_mod." go; torchvision's "downsample" is "shortcut" and its "fc" is "linear".
func ourName(name string) (string, bool) {
	for {
		rest, wrapped := strings.CutPrefix(name, "module.")
		if !wrapped {
			rest, wrapped = strings.CutPrefix(name, "_orig_mod.")
		}
		if !wrapped {
			break
		}
		name = rest
	}
	if name == "num_batches_tracked" || strings.HasSuffix(name, ".num_batches_tracked") {
		return "", false
	}
	parts := strings.Split(name, ".")
	if parts[0] == "fc" {
		parts[0] = "linear"
	}
	if len(parts) > 3 && strings.HasPrefix(parts[0], "layer") && parts[2] == "downsample" {
		parts[2] = "shortcut"
	}
	return strings.Join(parts, "."), true
}

// foreignName is torchvision's name for one of ours.
func foreignName(name string) string {
	parts := strings.Split(name, ".")
	if parts[0] == "linear" {
		parts[0] = "fc"
	}
	if len(parts) > 3 && strings.HasPrefix(parts[0], "layer") && parts[2] == "shortcut" {
		parts[2] = "downsample"
	}
	return strings.Join(parts, ".")
}
