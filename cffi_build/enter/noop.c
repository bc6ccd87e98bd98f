/* Does nothing, successfully.  Slurm runs TaskProlog and --task-prolog inside the container, where they do not exist;
 * the plugin has run them on the host already, and this stands at their paths.  Statically linked: the image may
 * hold no C library that fits. */
int main(void)
{
	return 0;
}
