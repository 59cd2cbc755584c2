"""The live providers: started, watched, taken out when they fail, exchanged at a reload."""
