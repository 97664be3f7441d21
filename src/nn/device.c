/*
 * device.c
 *	  Finding a device by name; opening the plug-in.
 *
 * A plug-in stays open until the program ends: CUDA does not take kindly to
 * being unloaded.
 */
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "nn/device.h"
#include "nn/learner.h"

#define PLUGIN "deephash-cuda.so"

/* The folder of the running program. */
static bool
program_dir(char *dir, size_t size)
{
	ssize_t length = readlink("/proc/self/exe", dir, size - 1);
	char *slash;

	if (length <= 0)
		return false;
	dir[length] = '\0';
	slash = strrchr(dir, '/');
	if (slash == NULL)
		return false;
	*slash = '\0';
	return true;
}

/* The file of the plug-in: in dir, or beside the program, or in ../lib of it. */
static bool
find_plugin(const char *dir, char *path, size_t size)
{
	char own[PATH_MAX];

	if (dir != NULL)
	{
		snprintf(path, size, "%s/" PLUGIN, dir);
		return access(path, R_OK) == 0;
	}
	if (!program_dir(own, sizeof(own)))
		return false;
	snprintf(path, size, "%s/" PLUGIN, own);
	if (access(path, R_OK) == 0)
		return true;
	snprintf(path, size, "%s/../lib/" PLUGIN, own);
	return access(path, R_OK) == 0;
}

/* The plug-in, opened, and where it lies; NULL when it is not there. */
static void *
open_file(const char *dir, char *path, size_t size, NnError *err)
{
	void *handle;

	if (!find_plugin(dir, path, size))
	{
		nn_fail(err, "device \"cuda\": there is no " PLUGIN " in %s",
				dir ? dir : "the program's folder");
		return NULL;
	}
	handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (handle == NULL)
		nn_fail(err, "device \"cuda\": %s", dlerror());
	return handle;
}

static const NnDevice *
open_plugin(const char *dir, NnError *err)
{
	char path[PATH_MAX + 64], text[256] = "";
	const NnDevice *device;
	NnDeviceEntry entry;
	void *handle = open_file(dir, path, sizeof(path), err);

	if (handle == NULL)
		return NULL;
	*(void **) &entry = dlsym(handle, NN_DEVICE_ENTRY);
	device = entry ? entry() : NULL;
	if (device == NULL || device->api != NN_DEVICE_API)
	{
		nn_fail(err,
				"device \"cuda\": %s is not of this version (interface %d, wanted %d)",
				path, device ? device->api : 0, NN_DEVICE_API);
		dlclose(handle);
		return NULL;
	}
	if (!device->probe(text, sizeof(text)))
	{
		nn_fail(err, "device \"cuda\" cannot run here: %s", text);
		/* Its libraries take more memory than a network. */
		dlclose(handle);
		return NULL;
	}
	return device;
}

const NnLearnerDevice *
nn_plugin_learner(const char *plugin_dir, NnError *err)
{
	char path[PATH_MAX + 64], text[256] = "";
	const NnLearnerDevice *device;
	NnLearnerEntry entry;
	void *handle = open_file(plugin_dir, path, sizeof(path), err);

	if (handle == NULL)
		return NULL;
	*(void **) &entry = dlsym(handle, NN_LEARNER_ENTRY);
	device = entry ? entry() : NULL;
	if (device == NULL || device->api != NN_LEARNER_API)
	{
		if (device == NULL)
			nn_fail(err, "device \"cuda\": %s can run networks, but not train them",
					path);
		else
			nn_fail(err,
					"device \"cuda\": %s is not of this version (interface %d of "
					"training, wanted %d)",
					path, device->api, NN_LEARNER_API);
		dlclose(handle);
		return NULL;
	}
	if (!device->probe(text, sizeof(text)))
	{
		nn_fail(err, "device \"cuda\" cannot train here: %s", text);
		return NULL;
	}
	return device;
}

const NnDevice *
nn_device(const char *name, const char *plugin_dir, NnError *err)
{
	const NnDevice *device;
	NnError unused;

	if (strcmp(name, "cpu") == 0)
		return &nn_cpu_device;
	if (strcmp(name, "cuda") == 0)
		return open_plugin(plugin_dir, err);
	if (strcmp(name, "auto") == 0)
	{
		device = open_plugin(plugin_dir, &unused);
		return device ? device : &nn_cpu_device;
	}
	nn_fail(err, "unknown device \"%s\" (known: auto, cpu, cuda)", name);
	return NULL;
}
