/*
 * print.c
 *	  The table of settings for people: --keys, and the options in --help.
 */
#include "training/recipe/recipe.h"

#include "training/arch/arch.h"

#include <string.h>

#define WIDTH 84

/* Words of text from column `at` on, wrapped to `indent`. */
static void
wrapped(FILE *to, const char *text, int at, int indent)
{
	while (*text)
	{
		int n = (int) strcspn(text, " ");

		if (at > indent && at + 1 + n > WIDTH)
		{
			fprintf(to, "\n%*s", indent, "");
			at = indent;
		}
		else if (at > indent)
		{
			fputc(' ', to);
			at++;
		}
		fprintf(to, "%.*s", n, text);
		at += n;
		text += n;
		while (*text == ' ')
			text++;
	}
	fputc('\n', to);
}

static const char *
default_of(const Key *key)
{
	if (!key->standard || strcmp(key->standard, "auto") == 0)
		return key->depends;
	return key->standard;
}

/* What it is for, and what it wants to have an effect. */
static const char *
about(const Key *key, char *text, size_t size)
{
	char wants[128];

	snprintf(text, size, "%s%s%s", key->about, key->wants ? "; with " : "",
			 key_wants(key, wants, sizeof(wants)));
	return text;
}

/* The parameters of each architecture, which follow its name in network.arch. */
static void
print_architectures(FILE *to)
{
	fputs("\nArchitectures and their parameters, for [network] arch:\n", to);
	for (int i = 0; arch_at(i); i++)
	{
		const Arch *arch = arch_at(i);
		const ArchParameter *p;

		fprintf(to, "  %s\n      ", arch_name_of(arch));
		wrapped(to, arch_about(arch), 6, 6);
		for (int k = 0; (p = arch_parameter(arch, k)) != NULL; k++)
		{
			char text[512];

			if (p->choices)
				snprintf(text, sizeof(text), "%s: %s; %s", p->name, p->choices, p->about);
			else
				snprintf(text, sizeof(text), "%s: %g to %g (%g); %s", p->name, p->low,
						 p->high, p->initial, p->about);
			fputs("      ", to);
			wrapped(to, text, 6, 8);
		}
	}
}

void
recipe_print_keys(FILE *to)
{
	const char *section = "";

	fputs("[recipe]\n  about\n      one line that says what the recipe is for\n", to);
	for (int i = 0; i < recipe_nkeys; i++)
	{
		const Key *key = &recipe_keys[i];
		char range[512];
		char text[1024];
		char what[512];

		if (strcmp(section, key->section) != 0)
			fprintf(to, "\n[%s]\n", key->section);
		section = key->section;
		key_range(key, range, sizeof(range));
		if (key->standard && key->depends)
			snprintf(text, sizeof(text), "%s; default: %s (%s)", range, key->standard,
					 key->depends);
		else
			snprintf(text, sizeof(text), "%s; default: %s", range, default_of(key));
		fprintf(to, "  %s%s%s%s\n      ", key->name, key->option ? " (--" : "",
				key->option ? key->option : "", key->option ? ")" : "");
		wrapped(to, about(key, what, sizeof(what)), 6, 6);
		fputs("      ", to);
		wrapped(to, text, 6, 6);
	}
	print_architectures(to);
}

static const char *
placeholder(const Key *key)
{
	switch (key->type)
	{
		case KEY_INT:
		case KEY_SEED:
			return "N";
		case KEY_REAL:
			return "X";
		case KEY_WIDTHS:
			return "A,B,C";
		case KEY_CHOICE:
		case KEY_NAME:
		case KEY_ARCH:
			return "NAME";
		default:
			return "TEXT";
	}
}

void
recipe_print_options(FILE *to)
{
	const char *section = "";

	for (int i = 0; i < recipe_nkeys; i++)
	{
		const Key *key = &recipe_keys[i];
		char text[1024];
		int n;

		if (!key->option)
			continue;
		if (strcmp(section, key->section) != 0)
			fprintf(to, "\n%c%s:\n", key->section[0] - 'a' + 'A', key->section + 1);
		section = key->section;
		n = (int) strlen(about(key, text, sizeof(text)));
		if (key->type == KEY_NAME)
		{
			n += snprintf(text + n, sizeof(text) - n, ":");
			for (int k = 0; key->names(k); k++)
				n += snprintf(text + n, sizeof(text) - n, "%s %s", k ? "," : "",
							  key->names(k));
		}
		snprintf(text + n, sizeof(text) - n, " (%s)", default_of(key));
		n = fprintf(to, "  --%s %s", key->option, placeholder(key));
		if (n < 24)
			fprintf(to, "%*s", 24 - n, "");
		else
			fprintf(to, "\n%*s", 24, "");
		wrapped(to, text, 24, 24);
	}
}
