"""How is motion best written as a video? (videojam evaluate representation)"""
