/*
 * keys.c
 *	  The table of settings.
 */
#include "training/recipe/keys.h"

#include "training/data/protocol.h"

#include <string.h>

#define AT(member)                                                                       \
	offsetof(TrainOptions, member), sizeof(((const TrainOptions *) 0)->member)

static const char *
devices(int i)
{
	static const char *const names[] = {"cpu", "cuda", "auto", NULL};

	return names[i];
}

static const char *
precisions(int i)
{
	static const char *const names[] = {"float32", "tf32", "bf16", NULL};

	return names[i];
}

static const char *
optimisers(int i)
{
	static const char *const names[] = {"sgd", "adamw", NULL};

	return names[i];
}

static const char *
schedules(int i)
{
	static const char *const names[] = {"linear", "cosine", "one-cycle", NULL};

	return names[i];
}

static const char *
averages(int i)
{
	static const char *const names[] = {"none", "ema", "lookahead", NULL};

	return names[i];
}

static const char *
losses(int i)
{
	if (loss_at(i))
		return loss_at(i)->name;
	/* the one that is no function of codes and labels stands after them */
	return i == 0 || loss_at(i - 1) ? "vae" : NULL;
}

static const char *
reconstructions(int i)
{
	static const char *const names[] = {"bce", "mse", NULL};

	return names[i];
}

static const char *
protocols(int i)
{
	if (i < 2)
		return i ? "split" : "none";
	return protocol_at(i - 2) ? protocol_at(i - 2)->name : NULL;
}

#define BY_LOSS "the loss's own"

/* clang-format off */
const Key recipe_keys[] = {
	{"data", "source", KEY_TEXT, AT(data), .automatic = KEY_CHOSEN, .standard = "auto",
	 .depends = "must be given", .option = "data", .changeable = true,
	 .about = "cifar10:DIR, folder:DIR (one folder of JPEGs per class) or manifest:FILE "
			  "(lines \"path<TAB>label[,label...]\")"},
	{"data", "protocol", KEY_NAME, AT(protocol), .names = protocols,
	 .automatic = KEY_CHOSEN, .standard = "auto",
	 .depends = "Pfull-R for CIFAR-10, else split", .option = "protocol",
	 .about = "which pictures train and which judge"},
	{"data", "holdout", KEY_REAL, AT(holdout), 0.001, 0.9, .standard = "0.1",
	 .option = "holdout",
	 .wants = "data.protocol=split",
	 .about = "share of each class that protocol split judges with"},
	{"data", "size", KEY_INT, AT(size), 24, 1024, .automatic = KEY_CHOSEN,
	 .standard = "auto", .depends = "32 for CIFAR-10, else 48", .option = "size",
	 .about = "side of the pictures that the network sees"},
	{"data", "resize", KEY_INT, AT(resize), 24, 2048, .automatic = KEY_OPEN,
	 .standard = "auto", .depends = "the architecture's share of the size",
	 .about = "short side that pictures are brought to before the middle is cut out"},
	{"data", "cache", KEY_INT, AT(cache), 1, 1 << 30, .automatic = KEY_OPEN,
	 .standard = "auto", .depends = "a third of this machine's memory", .changeable = true,
	 .about = "MB of decoded pictures held in memory; the rest are decoded when wanted"},
	{"data", "workers", KEY_INT, AT(workers), 1, 256, .automatic = KEY_OPEN,
	 .standard = "auto", .depends = "none on the CPU: the network's threads, in turn with it; "
				"with a GPU one per thread",
	 .changeable = true, .about = "threads that prepare the next batches meanwhile"},

	{"network", "arch", KEY_ARCH, AT(arch), .standard = "speednet", .option = "arch",
	 .about = "architecture and its parameters, such as vit-ti patch=14"},
	{"network", "pretrained", KEY_TEXT, AT(pretrained), .automatic = KEY_OPEN,
	 .standard = "auto", .depends = "none: values drawn from the seed",
	 .option = "pretrained", .about = "safetensors file with the weights to begin from"},
	{"network", "bits", KEY_INT, AT(bits), 1, 4096, .standard = "64", .option = "bits",
	 .about = "length of the codes"},
	{"network", "channels", KEY_WIDTHS, AT(channels), 1, 4096, .automatic = KEY_OPEN,
	 .standard = "auto", .depends = "the widest of five that fits the time",
	 .option = "width",
	 .wants = "network.arch=speednet",
	 .about = "channels of the three blocks of speednet, such as 32,128,128"},

	{"train", "minutes", KEY_REAL, AT(minutes), 0.05, 1e6, .automatic = KEY_OPEN,
	 .standard = "auto", .depends = "40, or no limit where epochs are given",
	 .option = "minutes",
	 .wants = "train.epochs=auto",
	 .about = "choose width and epochs to fit so many minutes here; fewer epochs if the "
			  "machine turns out slower"},
	{"train", "epochs", KEY_INT, AT(epochs), 1, 100000, .automatic = KEY_CHOSEN,
	 .standard = "auto", .depends = "what fits the minutes", .option = "epochs",
	 .about = "passes over the training pictures, whatever they take"},
	{"train", "batch", KEY_INT, AT(batch), 2, 65536, .automatic = KEY_CHOSEN,
	 .standard = "auto", .depends = "32 to 512 by the size of the data",
	 .option = "batch", .about = "pictures of a step"},
	{"train", "accumulate", KEY_INT, AT(accumulate), 1, 65536, .standard = "1",
	 .about = "parts in which a batch passes the network, to save memory; batch norms see "
			  "one part at a time"},
	{"train", "recompute", KEY_BOOL, AT(recompute), .standard = "no", .changeable = true,
	 .about = "compute activations again in the backward pass, to save memory; the "
			  "result is the same"},
	{"train", "device", KEY_CHOICE, AT(device), .names = devices, .standard = "cpu",
	 .option = "device", .about = "what trains: cpu, cuda (the plug-in) or auto"},
	{"train", "precision", KEY_CHOICE, AT(precision), .names = precisions,
	 .standard = "float32",
	 .about = "of products, where the device has others; weights are float32"},
	{"train", "deterministic", KEY_BOOL, AT(deterministic), .standard = "yes",
	 .about = "the same bits in every run on a device, as a CPU always has them; no lets a "
			  "GPU take the fastest sums"},
	{"train", "seed", KEY_SEED, AT(seed), .standard = "1", .option = "seed",
	 .about = "same seed, same result"},

	{"loss", "kind", KEY_NAME, AT(loss), .names = losses, .standard = "orthohash",
	 .option = "loss",
	 .about = "what is minimised; vae, and it alone, for autoencoders"},
	{"loss", "scale", KEY_REAL, AT(loss_options.scale), 0, 1e6, .depends = BY_LOSS,
	 .option = "scale",
	 .wants = "loss.kind=orthohash",
	 .about = "factor of the cosines"},
	{"loss", "margin", KEY_REAL, AT(loss_options.margin), -10, 10, .depends = BY_LOSS,
	 .option = "margin",
	 .wants = "loss.kind=orthohash",
	 .about = "taken off the own class's cosine"},
	{"loss", "smoothing", KEY_REAL, AT(loss_options.smoothing), 0, 0.99,
	 .depends = BY_LOSS, .option = "smoothing",
	 .wants = "loss.kind=orthohash",
	 .about = "share of the label spread over all classes"},
	{"loss", "lambda", KEY_REAL, AT(loss_options.lambda), 0, 1e6, .depends = BY_LOSS,
	 .option = "lambda",
	 .wants = "loss.kind=csq",
	 .about = "weight of the pull to +1 and -1"},

	{"loss", "reconstruction", KEY_CHOICE, AT(vae.reconstruction),
	 .names = reconstructions, .standard = "bce",
	 .wants = "loss.kind=vae",
	 .about = "pixels as probabilities, or squares"},
	{"loss", "kl", KEY_REAL, AT(vae.kl_weight), 0, 1e6, .standard = "1",
	 .wants = "loss.kind=vae",
	 .about = "weight of the divergence of autoencoders' codes"},
	{"loss", "kl-warm-up", KEY_REAL, AT(vae_warm_up), 0, 1e6, .standard = "0",
	 .wants = "loss.kind=vae",
	 .about = "epochs in which that weight grows from 0"},

	{"optimiser", "kind", KEY_CHOICE, AT(optim.kind), .names = optimisers,
	 .standard = "sgd", .option = "optimiser",
	 .about = "sgd (with Nesterov's momentum) or adamw"},
	{"optimiser", "rate", KEY_REAL, AT(rate), 1e-12, 1e6, .standard = "0.4",
	 .depends = "0.001 for adamw", .option = "rate", .about = "peak learning rate for a batch of 512"},
	{"optimiser", "bias-rate", KEY_REAL, AT(bias_rate), 0, 1e6, .standard = "64",
	 .depends = "1 for adamw",
	 .about = "learning rate of the shifts of batch norms, relative to that"},
	{"optimiser", "momentum", KEY_REAL, AT(optim.momentum), 0, 0.9999,
	 .standard = "0.85", .option = "momentum",
	 .wants = "optimiser.kind=sgd",
	 .about = "share of the last step in the next"},
	{"optimiser", "beta1", KEY_REAL, AT(optim.beta1), 0, 0.9999, .standard = "0.9",
	 .wants = "optimiser.kind=adamw",
	 .about = "decay of the mean of gradients"},
	{"optimiser", "beta2", KEY_REAL, AT(optim.beta2), 0, 0.999999, .standard = "0.999",
	 .wants = "optimiser.kind=adamw",
	 .about = "decay of the mean of their squares"},
	{"optimiser", "eps", KEY_REAL, AT(optim.eps), 1e-30, 1, .standard = "1e-8",
	 .wants = "optimiser.kind=adamw",
	 .about = "added to the root of that"},
	{"optimiser", "weight-decay", KEY_REAL, AT(optim.decay), 0, 10, .standard = "0.002",
	 .option = "weight-decay", .about = "of matrices; norms and biases have none"},
	{"optimiser", "average", KEY_CHOICE, AT(average), .names = averages,
	 .standard = "lookahead", .option = "average",
	 .about = "of the weights, which is what is judged and written"},
	{"optimiser", "average-decay", KEY_REAL, AT(average_decay), 0.5, 0.999999,
	 .automatic = KEY_OPEN, .standard = "auto", .depends = "0.999",
	 .wants = "optimiser.average=ema",
	 .about = "what it keeps in each step, less in the first ones"},
	{"optimiser", "layer-decay", KEY_REAL, AT(layer_decay), 0.01, 1, .standard = "1",
	 .about = "learning rate of each layer relative to the next nearer to the output"},
	{"optimiser", "clip", KEY_REAL, AT(optim.clip), 0, 1e9, .standard = "0",
	 .about = "longest gradient, over all parameters; 0: any"},
	{"optimiser", "norm-momentum", KEY_REAL, AT(norm_momentum), 1e-6, 1,
	 .standard = "0.4", .about = "weight of a new batch in the norms' running statistics"},

	{"schedule", "kind", KEY_CHOICE, AT(schedule.kind), .names = schedules,
	 .standard = "linear",
	 .about = "of the rate: straight lines, a cosine down, or cosines up and down"},
	{"schedule", "start", KEY_REAL, AT(schedule.start), 0, 1, .standard = "0.2",
	 .about = "rate of the first step, relative to the peak"},
	{"schedule", "warm-up", KEY_REAL, AT(schedule.warm), 0, 1, .standard = "0.23",
	 .about = "share of training until the peak"},
	{"schedule", "end", KEY_REAL, AT(schedule.end), 0, 1, .standard = "0.07",
	 .about = "rate of the last step, relative to the peak"},

	{"augment", "translate", KEY_INT, AT(augment.translate), 0, 16, .standard = "2",
	 .option = "translate",
	 .wants = "augment.crop=0",
	 .about = "shift pictures by up to so many pixels, edges reflected"},
	{"augment", "flip", KEY_BOOL, AT(augment.flip), .standard = "yes",
	 .about = "mirror pictures every other epoch, starting at random for each"},
	{"augment", "crop", KEY_REAL, AT(augment.crop), 0, 1, .standard = "0",
	 .about = "random resized crop: its least share of the picture's area; 0: none"},
	{"augment", "crop-ratio", KEY_REAL, AT(augment.crop_ratio), 1, 16,
	 .automatic = KEY_OPEN, .standard = "auto", .depends = "4/3",
	 .wants = "augment.crop",
	 .about = "widest aspect of that crop, and its inverse"},
	{"augment", "random-ops", KEY_INT, AT(augment.random_ops), 0, 16, .standard = "0",
	 .about = "RandAugment: operations for each picture, of fourteen"},
	{"augment", "random-magnitude", KEY_REAL, AT(augment.random_magnitude), 0, 30,
	 .standard = "9",
	 .wants = "augment.random-ops",
	 .about = "RandAugment: strength of its operations"},
	{"augment", "brightness", KEY_REAL, AT(augment.brightness), 0, 10, .standard = "0",
	 .about = "colour jitter: factor from 1 - this to 1 + this"},
	{"augment", "contrast", KEY_REAL, AT(augment.contrast), 0, 10, .standard = "0",
	 .about = "colour jitter: factor from 1 - this to 1 + this"},
	{"augment", "saturation", KEY_REAL, AT(augment.saturation), 0, 10, .standard = "0",
	 .about = "colour jitter: factor from 1 - this to 1 + this"},
	{"augment", "hue", KEY_REAL, AT(augment.hue), 0, 0.5, .standard = "0",
	 .about = "colour jitter: turn of the colour circle, each way"},
	{"augment", "jitter-chance", KEY_REAL, AT(augment.jitter_chance), 0, 1,
	 .standard = "1",
	 .wants = "augment.brightness|augment.contrast|augment.saturation|augment.hue",
	 .about = "share of the pictures that get the colour jitter"},
	{"augment", "grey-chance", KEY_REAL, AT(augment.grey_chance), 0, 1, .standard = "0",
	 .about = "share of the pictures that lose their colours"},
	{"augment", "blur-chance", KEY_REAL, AT(augment.blur_chance), 0, 1, .standard = "0",
	 .about = "share of the pictures that are blurred, by 0.1 to 2 pixels"},
	{"augment", "cutout", KEY_INT, AT(augment.cutout), 0, 1024, .standard = "0",
	 .option = "cutout", .about = "grey out a square of this side"},
	{"augment", "mixup", KEY_REAL, AT(augment.mixup), 0, 100, .standard = "0",
	 .about = "mix two pictures and their labels: alpha of the Beta distribution"},
	{"augment", "cutmix", KEY_REAL, AT(augment.cutmix), 0, 100, .standard = "0",
	 .about = "paste a box of another picture, labels by area: alpha of the Beta"},
	{"augment", "two-views", KEY_BOOL, AT(augment.two_views), .standard = "no",
	 .about = "every picture of a batch twice, changed apart; half as many of them"},
};
/* clang-format on */

const int recipe_nkeys = sizeof(recipe_keys) / sizeof(recipe_keys[0]);

int
key_find(const char *section, const char *name)
{
	for (int i = 0; i < recipe_nkeys; i++)
		if (strcmp(recipe_keys[i].section, section) == 0 &&
			strcmp(recipe_keys[i].name, name) == 0)
			return i;
	return -1;
}

int
key_find_option(const char *option)
{
	for (int i = 0; i < recipe_nkeys; i++)
		if (recipe_keys[i].option && strcmp(recipe_keys[i].option, option) == 0)
			return i;
	return -1;
}
