/* Values of keys about hooks and wait_for. Private to src/config/: the table of types in value.c has a row for each. */
#ifndef CONFIG_VALUE_HOOKS_H
#define CONFIG_VALUE_HOOKS_H

#include "config/value_lists.h"

value_set_fn hook_value_set, hook_value_add, target_name_add;
value_format_fn hook_value_format, target_names_format;
value_describe_fn hook_value_describe, target_names_describe;
value_clear_fn hook_value_clear, target_names_clear;

#endif
